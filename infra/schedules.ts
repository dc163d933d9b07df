/** What runs by the clock, and when: a file of functions/, by its name. */
export const schedules = { sweep: "rate(1 minute)" } as const;
