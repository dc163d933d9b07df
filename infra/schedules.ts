/** The functions that run on a schedule, by their file in functions/. */
export const schedules = { sweep: "rate(1 minute)" } as const;
