/** Imported before the tests of properties, which then try all of their runs. */
process.env.TEST_ALL_RUNS = "true";

export {};
