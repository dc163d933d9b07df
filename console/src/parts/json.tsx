import { CopyButton } from "./notice.tsx";

export function Json({ value, label }: { value: unknown; label: string }) {
  const text = JSON.stringify(value, null, 2);
  return (
    <div class="stack">
      <div class="row spread">
        <h2>{label}</h2>
        <CopyButton text={text} label="copy" title={`Copy: ${label}`} />
      </div>
      {/* Scrolls, so the keyboard must reach it. */}
      {/* biome-ignore lint/a11y/noNoninteractiveTabindex: a region that scrolls */}
      <pre tabIndex={0}>{text}</pre>
    </div>
  );
}
