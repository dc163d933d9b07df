import type { Flags } from "../command.ts";

/** The flags of a command for one subaccount or for all. */
export const whichFlags = {
  subaccount: { type: "id", description: "this subaccount" },
  all: { type: "boolean", description: "every subaccount of the stage" },
} as const satisfies Flags;

/** Exactly one of the two flags is required, so that a forgotten flag does not pause the whole stage. */
export const refuseWhich = ({ subaccount, all }: { subaccount: string | undefined; all: boolean }) =>
  (subaccount === undefined) === all ? undefined : "either --subaccount ID or --all is needed";
