/** Name of this installation. Apart from config.ts, because functions that need no secret know it too. */
export const stage = () => process.env.STAGE || "local";
