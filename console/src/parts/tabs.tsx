import { useRef } from "preact/hooks";

interface TabsProps<Name extends string> {
  tabs: { name: Name; label: string; isForSmall?: boolean }[];
  current: Name;
  onChange: (name: Name) => void;
}

/** Tabs for the element `panel`. The arrow keys move between them. */
export function Tabs<Name extends string>({ tabs, current, onChange }: TabsProps<Name>) {
  const list = useRef<HTMLDivElement>(null);
  const onKeyDown = (event: KeyboardEvent) => {
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (step === undefined) return;
    const buttons = [...(list.current?.querySelectorAll("button") ?? [])].filter((one) => one.offsetParent !== null);
    const at = buttons.indexOf(document.activeElement as HTMLButtonElement);
    const next = buttons[(at + step + buttons.length) % buttons.length];
    next?.focus();
    next?.click();
  };
  return (
    <div class="tabs" role="tablist" aria-label="Parts of this chat" ref={list} onKeyDown={onKeyDown}>
      {tabs.map(({ name, label, isForSmall }) => (
        <button
          key={name}
          type="button"
          role="tab"
          id={`tab-${name}`}
          aria-controls="panel"
          aria-selected={name === current}
          class={isForSmall ? "only-small" : ""}
          onClick={() => onChange(name)}
        >
          {label}
        </button>
      ))}
    </div>
  );
}
