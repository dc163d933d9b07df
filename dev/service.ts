/**
 * What every local service (Upstash emulator, Retell simulator, gateway) has in common as a process.
 *
 * Started by `fork()`, it reports `{ ready: about }` over IPC and ends when its parent goes, however the parent went,
 * so that no service is ever left behind. Started by hand, it prints where it listens and ends on Ctrl-C.
 */
export function serve<About extends object>(about: About, lines: string[], stop: () => Promise<void> | void): void {
  let stopping = false;
  const end = async () => {
    if (stopping) return;
    stopping = true;
    await stop();
    process.exit(0);
  };
  process.once("SIGINT", end);
  process.once("SIGTERM", end);
  process.once("disconnect", end);

  if (process.send) process.send({ ready: about });
  else for (const line of lines) console.log(line);
}
