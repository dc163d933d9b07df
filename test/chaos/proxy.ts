import { once } from "node:events";
import { type AddressInfo, connect, createServer, type Server, type Socket } from "node:net";
import { setTimeout as delay } from "node:timers/promises";
import { Dice } from "./dice.ts";

/** Probabilities of faults per chunk of traffic. */
interface Rates {
  /** The connection is cut, and with it a request on its way there or an answer on its way back. */
  cut: number;
  slow: number;
  /** How long nothing but that happens between two outages, at least and at most. */
  peaceMs: readonly [number, number];
}

/** A service on loopback, with a bad network in front of it. */
export interface BadNetwork {
  port: number;
  /** How often it has misbehaved, by kind. */
  troubles: Record<string, number>;
  /** From now on everything passes unchanged. */
  calm(): Promise<void>;
  stop(): Promise<void>;
}

const slowMs = 400;
/** The length of an outage: some are longer than the 2.3 s that the API waits for MongoDB. */
const outageMs = [100, 3_000] as const;

/** Puts a bad network in front of a port of 127.0.0.1: connections are cut or slow, and at times nothing passes. */
export async function badNetwork(target: number, seed: number, name: string, rates: Rates): Promise<BadNetwork> {
  const sockets = new Set<Socket>();
  const troubles = { cut: 0, slow: 0, refused: 0, stalled: 0 };
  let isCalm = false;
  let stalledUntil = 0;
  let connections = 0;

  const server = createServer((client) => {
    const dice = new Dice(seed, name, ++connections);
    const there = connect(target, "127.0.0.1");
    for (const socket of [client, there]) {
      sockets.add(socket);
      socket.setNoDelay(true);
    }
    for (const [from, to] of [
      [client, there],
      [there, client],
    ] as const) {
      from
        .on("error", () => {})
        .on("close", () => {
          sockets.delete(from);
          to.destroy();
        });
      from.on("data", (piece) => pass(dice, from, to, piece));
    }
  });

  function pass(dice: Dice, from: Socket, to: Socket, piece: Buffer): void {
    if (!isCalm && dice.chance(rates.cut)) {
      troubles.cut += 1;
      from.destroy();
      to.destroy();
      return;
    }
    const isSlow = !isCalm && dice.chance(rates.slow);
    if (isSlow) troubles.slow += 1;
    const waitMs = Math.max(isSlow ? dice.between(5, slowMs) : 0, isCalm ? 0 : stalledUntil - Date.now());
    if (waitMs <= 0) {
      to.write(piece);
      return;
    }
    from.pause(); // what follows keeps its place
    setTimeout(() => {
      if (!to.destroyed) to.write(piece);
      from.resume();
    }, waitMs).unref();
  }

  await listen(server, 0);
  const { port } = server.address() as AddressInfo;
  const ending = new AbortController();
  const outages = (async () => {
    const dice = new Dice(seed, name, "outages");
    const pause = (ms: number) => delay(ms, undefined, { signal: ending.signal }).catch(() => {});
    while (!ending.signal.aborted) {
      await pause(dice.between(...rates.peaceMs));
      if (ending.signal.aborted) return;
      const ms = dice.between(...outageMs);
      if (dice.chance(0.5)) {
        troubles.stalled += 1;
        stalledUntil = Date.now() + ms;
        await pause(ms);
      } else {
        troubles.refused += 1;
        await close(server, sockets);
        await pause(ms);
        await listen(server, port);
      }
    }
  })();

  const calm = async () => {
    isCalm = true;
    ending.abort();
    await outages;
  };
  return {
    port,
    troubles,
    calm,
    async stop() {
      await calm();
      await close(server, sockets);
    },
  };
}

async function listen(server: Server, port: number): Promise<void> {
  server.listen(port, "127.0.0.1");
  await once(server, "listening");
}

async function close(server: Server, sockets: Set<Socket>): Promise<void> {
  const closed = once(server, "close");
  server.close();
  for (const socket of sockets) socket.destroy();
  await closed;
}
