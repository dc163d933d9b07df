import { CallLog } from "../../lib/logger.ts";

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
  for (let cause = error; cause instanceof Error; cause = cause.cause) {
    const { code } = cause as { code?: unknown };
    if (!cause.cause) return `${cause.name}${typeof code === "string" || typeof code === "number" ? ` ${code}` : ""}`;
  }
  return "failed";
}

/** For what belongs to a request elsewhere. */
export const aLog = () => new CallLog({ operationId: crypto.randomUUID(), requestId: undefined, operation: "doctor" });
