import { RequestLog } from "../../lib/platform/logger.ts";

/** What was found of one thing. */
export interface Finding {
  what: string;
  isWell: boolean;
  detail: string;
  /** What to do about it; "" where nothing is wrong. */
  mend: string;
}

export const well = (what: string, detail = ""): Finding => ({ what, isWell: true, detail, mend: "" });
export const ill = (what: string, detail: string, mend: string): Finding => ({ what, isWell: false, detail, mend });

/** Off by more than this, tokens are taken for expired or not yet valid. */
const tolerableMs = 5_000;

/** A clock of somebody else against ours, both epoch ms. */
export function clock(whose: string, theirs: number, ours: number): Finding {
  const off = theirs - ours;
  const seconds = `${(Math.abs(off) / 1_000).toFixed(1)} s ${off < 0 ? "behind" : "ahead"}`;
  if (Math.abs(off) <= tolerableMs) return well(`clock of ${whose}`, seconds);
  return ill(`clock of ${whose}`, `${seconds} of this machine's`, "set this machine's clock by NTP; if it is, theirs");
}

/** What an error says, without what a driver may add of addresses that hold passwords. */
export function saying(error: unknown): string {
  let deepest = error;
  while (deepest instanceof Error && deepest.cause) deepest = deepest.cause;
  if (!(deepest instanceof Error)) return "failed";
  const { code, codeName, status } = deepest as { code?: unknown; codeName?: unknown; status?: unknown };
  const more = [
    ...(typeof code === "string" || typeof code === "number" ? [String(code)] : []),
    ...(typeof codeName === "string" ? [codeName] : []),
    ...(typeof status === "number" ? [`answered ${status}`] : []),
  ];
  const isTelling = deepest.name !== "Error" || more.length === 0;
  return [...(isTelling ? [deepest.name] : []), ...more].join(" ");
}

/** For what belongs to a request elsewhere. */
export const aLog = () =>
  new RequestLog({ operationId: crypto.randomUUID(), requestId: undefined, operation: "doctor" });
