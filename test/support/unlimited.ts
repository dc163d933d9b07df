/** For tests that send more than a minute's worth. Imported before anything that reads the configuration. */
for (const limit of ["USER", "CREATE", "MESSAGE", "END", "LIST", "TRANSCRIPT"]) {
  process.env[`RATE_LIMIT_${limit}`] = "1000000";
}

export {};
