import type { Flags } from "../command.ts";

/** The flags of a command for one subaccount or for all. */
export const whichFlags = {
  subaccount: { type: "id", description: "this subaccount" },
  all: { type: "boolean", description: "every subaccount of the stage" },
} as const satisfies Flags;

/** Why the two cannot be used as they are: nobody must pause a stage by leaving a flag out. */
export const refuseWhich = ({ subaccount, all }: { subaccount: string | undefined; all: boolean }) =>
  (subaccount === undefined) === all ? undefined : "either --subaccount ID or --all is needed";
