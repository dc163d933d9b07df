/** The result of one check. */
export interface Finding {
  /** What was checked. */
  what: string;
  isOk: boolean;
  detail: string;
  /** What to do about it; "" where nothing is wrong. */
  fix: string;
}

export const ok = (what: string, detail = ""): Finding => ({ what, isOk: true, detail, fix: "" });
export const wrong = (what: string, detail: string, fix: string): Finding => ({ what, isOk: false, detail, fix });

/** A larger difference makes valid tokens look expired or not yet valid. */
const tolerableMs = 5_000;

/** Compares another machine's clock with ours, both in epoch ms. */
export function clock(whose: string, theirs: number, ours: number): Finding {
  const off = theirs - ours;
  const seconds = `${(Math.abs(off) / 1_000).toFixed(1)} s ${off < 0 ? "behind" : "ahead"}`;
  if (Math.abs(off) <= tolerableMs) return ok(`clock of ${whose}`, seconds);
  return wrong(`clock of ${whose}`, `${seconds} of this machine's`, "set this machine's clock by NTP, or else theirs");
}
