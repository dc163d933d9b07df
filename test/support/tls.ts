import { once } from "node:events";
import { readFileSync } from "node:fs";
import { createServer } from "node:https";
import type { AddressInfo, Socket } from "node:net";
import { text } from "node:stream/consumers";
import { getCACertificates, setDefaultCACertificates } from "node:tls";

/** A certificate for 127.0.0.1 and its key, made for these tests: nothing else trusts it. */
const pem = readFileSync(new URL("localhost.pem", import.meta.url), "utf8");
const certificateAt = pem.indexOf("-----BEGIN CERTIFICATE-----");
export const identity = { key: pem.slice(0, certificateAt), cert: pem.slice(certificateAt) };

/** This process trusts it until the test file ends: test/support/fresh.ts undoes it. */
export function trustIdentity(): void {
  if (!globalThis.processAtStart || globalThis.processAtStart.trusted) return;
  const trusted = getCACertificates();
  globalThis.processAtStart.trusted = trusted;
  setDefaultCACertificates([...trusted, identity.cert]);
}

/**
 * A TLS server in front of another server. On demand it breaks the connection: the request is passed on and carried out,
 * and instead of the answer it sends a record that cannot be decrypted.
 */
export async function tlsInFrontOf(url: string) {
  trustIdentity();
  const under = new Map<number | undefined, Socket>();
  let isBroken: (path: string) => boolean = () => false;
  const server = createServer(identity, async (request, response) => {
    const { method = "", headers, url: path = "" } = request;
    const body = await text(request);
    const { authorization = "", "content-type": type = "application/json" } = headers;
    const answer = await fetch(url + path, {
      method,
      headers: { authorization, "content-type": type },
      ...(body === "" ? {} : { body }),
    });
    const answered = await answer.text();
    if (isBroken(path)) under.get(request.socket.remotePort)?.write(unreadable);
    else response.writeHead(answer.status, { "content-type": "application/json" }).end(answered);
  });
  server.on("connection", (socket: Socket) => under.set(socket.remotePort, socket));
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return {
    url: `https://127.0.0.1:${(server.address() as AddressInfo).port}`,
    breakAnswersTo(path: string | undefined): void {
      isBroken = (asked) => asked === path;
    },
    async stop(): Promise<void> {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

/** A TLS record of application data that no key decrypts. */
const unreadable = Buffer.concat([Buffer.from([0x17, 3, 3, 0, 40]), Buffer.alloc(40, 7)]);
