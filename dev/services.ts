import { join } from "node:path";
import { startChild } from "./child.ts";
import { findMongod } from "./mongod/find.ts";
import { startMongod } from "./mongod.ts";

/** How to start the services. */
export interface ServicesOptions {
  /** The folder that keeps their data for the next start. Default: no data is kept. */
  dataDir?: string;
  /** More arguments for mongod, for example `["--setParameter", "enableTestCommands=1"]`. */
  mongoArgs?: string[];
  /** Called once for a service that ends without being stopped, with one line that says what happened. */
  onExit?: (line: string) => void;
  /** Gets a line for the user when something takes long, such as a download. */
  say?: (line: string) => void;
  /** Gets every line that a service writes to its stderr. */
  log?: (line: string) => void;
  signal?: AbortSignal;
}

/** The services and their addresses. A service that the environment names is used as it is, and not stopped. */
export interface Services {
  mongodb: { url: string; source: string };
  upstash: { url: string; token: string; source: string };
  /** `control` is the simulator's own API; "" when RETELL_BASE_URL is set. */
  retell: { url: string; control: string };
  /** Stops all services that were started, and waits until they have ended. */
  stop(): Promise<void>;
}

/**
 * Starts MongoDB, the Upstash emulator and the Retell simulator at the same time, each only if its variable is not set
 * (MONGODB_URL; UPSTASH_REDIS_REST_URL and _TOKEN; RETELL_BASE_URL), and waits until all are ready.
 *
 * @throws The first error, after everything else was stopped.
 */
export async function startServices(options: ServicesOptions = {}): Promise<Services> {
  const failed = new AbortController();
  const signal = options.signal ? AbortSignal.any([options.signal, failed.signal]) : failed.signal;
  const started: Pick<Services, "stop">[] = [];
  const stop = async () => {
    await Promise.all(started.map((service) => service.stop()));
  };
  const starting = <T>(start: (run: Run) => Promise<T>): Promise<T> =>
    start({ ...options, signal, keep: (service) => void started.push(service) }).catch((error: unknown) => {
      failed.abort(error);
      throw error;
    });

  const all = [starting(mongodb), starting(upstash), starting(retell)] as const;
  try {
    const [mongo, redis, simulator] = await Promise.all(all);
    return { mongodb: mongo, upstash: redis, retell: simulator, stop };
  } catch (error) {
    await Promise.allSettled(all);
    await stop();
    throw error;
  }
}

interface Run extends ServicesOptions {
  signal: AbortSignal;
  keep(service: Pick<Services, "stop">): void;
}

async function mongodb({ dataDir, mongoArgs, onExit, say, signal, keep }: Run): Promise<Services["mongodb"]> {
  const { MONGODB_URL } = process.env;
  if (MONGODB_URL) return { url: MONGODB_URL, source: "MONGODB_URL" };

  const running = await startMongod({
    mongod: await findMongod({ signal, ...(say ? { say } : {}) }),
    ...(dataDir ? { dbPath: join(dataDir, "mongo") } : {}),
    ...(mongoArgs ? { args: mongoArgs } : {}),
    onExit: (reason) => onExit?.(`mongod ended: ${reason}`),
    signal,
  });
  keep(running);
  return { url: running.url, source: running.source };
}

async function upstash({ dataDir, ...run }: Run): Promise<Services["upstash"]> {
  const { UPSTASH_REDIS_REST_URL: url, UPSTASH_REDIS_REST_TOKEN: token } = process.env;
  if (url && token) return { url, token, source: "UPSTASH_REDIS_REST_URL" };

  const data = dataDir ? ["--data", join(dataDir, "redis")] : [];
  return child("upstash", "../packages/upstash-emulator/src/cli.ts", data, run);
}

async function retell({ dataDir, ...run }: Run): Promise<Services["retell"]> {
  const { RETELL_BASE_URL: url } = process.env;
  if (url) return { url, control: "" };
  const state = dataDir ? ["--state", join(dataDir, "retell.json")] : [];
  return child("retell", "../packages/retell-simulator/src/cli.ts", state, run);
}

async function child<About>(name: string, file: string, args: string[], run: Run): Promise<About> {
  const { onExit, log, signal, keep } = run;
  const started = await startChild<About>(new URL(file, import.meta.url), {
    name,
    args,
    onExit,
    onStderr: log,
    signal,
  });
  keep(started);
  return started.about;
}
