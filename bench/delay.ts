import { once } from "node:events";
import { type AddressInfo, connect, createServer } from "node:net";

/** A TCP proxy in front of a service that delays what is sent to it. */
export interface Delay {
  port: number;
  ms: number;
}

/** @param target The service's URL. Only host and port are used; any protocol works. */
export async function delayed(target: string): Promise<Delay> {
  const { hostname, port } = new URL(target);
  const server = createServer({ noDelay: true }, (client) => {
    const service = connect({ host: hostname, port: Number(port), noDelay: true });
    client.on("data", (bytes) => {
      if (delay.ms === 0) service.write(bytes);
      else setTimeout(() => service.write(bytes), delay.ms); // timers of equal length keep their order
    });
    service.on("data", (bytes) => client.write(bytes));
    for (const [one, other] of [
      [client, service],
      [service, client],
    ] as const) {
      one.on("error", () => {}).on("close", () => other.destroy());
    }
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const delay: Delay = { port: (server.address() as AddressInfo).port, ms: 0 };
  return delay;
}
