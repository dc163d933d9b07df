import { startGateway } from "../dev/gateway.ts";
import { load } from "./api.ts";
import { job } from "./child.ts";

/** The URL of the folder with the handlers. */
export interface Served {
  folder: string;
}

/** A gateway in a process of its own. On request it reports the CPU time that it has used, in µs. */
const { url } = await startGateway({ port: 0, handlers: await load(new URL(job<Served>().folder)) });
process.on("message", () => {
  const { user, system } = process.cpuUsage();
  process.send?.({ cpu: user + system });
});
process.on("disconnect", () => process.exit(0));
process.send?.({ url });
