import type { ChatStatus } from "@scalai/chat";

const tones = { ongoing: "good", ended: "muted", error: "bad" };

export function ChatStatusBadge({ status }: { status: ChatStatus | null | undefined }) {
  if (!status) return <span class="muted">–</span>;
  return <span class={`badge ${tones[status] ?? "muted"}`}>{status}</span>;
}
