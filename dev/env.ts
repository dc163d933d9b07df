/** Loaded ahead of the tools by their npm scripts: settings from `.env`, if there is one. */
try {
  process.loadEnvFile();
} catch {
  // There is none: everything has a default, or is started.
}
