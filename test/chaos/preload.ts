/**
 * `node --import` runs this in the instances of a run before anything else. It shifts their clock by CHAOS_CLOCK_MS, and
 * redirects connections to the ports in CHAOS_PORTS to proxies that put a bad network in front of the same service.
 */
import { enableCompileCache, flushCompileCache } from "node:module";
import { Socket } from "node:net";

// Instances are started again every few seconds, and killed before they would write what they have compiled.
enableCompileCache();
setTimeout(flushCompileCache, 2_000).unref();

const offMs = Number(process.env.CHAOS_CLOCK_MS ?? 0);
const ports: Record<string, number> = JSON.parse(process.env.CHAOS_PORTS ?? "{}");

const RealDate = Date;
const realNow = RealDate.now;
RealDate.now = () => realNow() + offMs;
globalThis.Date = new Proxy(RealDate, {
  construct: (target, args, newTarget) =>
    Reflect.construct(target, args.length === 0 ? [target.now()] : args, newTarget),
});

const connect = Socket.prototype.connect;
Socket.prototype.connect = function (this: Socket, ...args: unknown[]) {
  // Node passes normalized arguments: a list of the options and a callback.
  const options = Array.isArray(args[0]) ? args[0][0] : args[0];
  const port = ports[options?.port];
  if (port !== undefined) options.port = port;
  return Reflect.apply(connect, this, args);
};
