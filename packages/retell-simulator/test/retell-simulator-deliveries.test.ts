import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { eventsOf, isSigned } from "./support/receiver.ts";
import { aSimulator } from "./support/simulator.ts";
import {
  aChat,
  anotherReceiver,
  chats,
  deliveries,
  receiver,
  retell,
  say,
  stops,
  webhook,
} from "./support/webhooks.ts";

describe("disorder", () => {
  const disorder = (rates: object, more = {}) =>
    webhook({ events: ["chat_started", "chat_ended"], disorder: { seed: 1, rates, ...more } });

  test("duplicate: each comes twice, the same but for the signature", async () => {
    await disorder({ duplicate: 1 });
    await chats.end(await aChat());
    await retell.advance(10_000);
    const told = await receiver.arrived(4);
    expect(eventsOf(told).toSorted()).toEqual(["chat_ended", "chat_ended", "chat_started", "chat_started"]);
    expect(new Set(told.map(({ raw }) => raw)).size).toBe(2);
  });

  test("drop: it never comes", async () => {
    await disorder({ drop: 1 });
    await chats.end(await aChat());
    expect(await deliveries(2)).toMatchObject(
      ["chat_started", "chat_ended"].map((event) => ({ event, error: "dropped" })),
    );
    await webhook();
    await aChat();
    expect(await receiver.arrived(1)).toHaveLength(1);
  });

  test("delay: it comes later, though not later than it may", async () => {
    await disorder({ delay: 1 }, { maxMs: 1_000_000_000 });
    const chat_id = await aChat();
    await webhook({ events: ["chat_ended"] });
    await chats.end(chat_id);
    expect(eventsOf(await receiver.arrived(1))).toEqual(["chat_ended"]);
    await retell.advance(1_000_000_000);
    expect(eventsOf(await receiver.arrived(2))).toEqual(["chat_ended", "chat_started"]);
  });

  test("swap: the next event overtakes it; without one it comes after a while", async () => {
    await disorder({ swap: 1 });
    const chat_id = await aChat();
    await chats.end(chat_id);
    expect(eventsOf(await receiver.arrived(2))).toEqual(["chat_ended", "chat_started"]);
    await aChat();
    await retell.advance(10_000);
    expect(eventsOf(await receiver.arrived(3)).at(-1)).toBe("chat_started");
  });

  test("the same seed brings the same troubles", async () => {
    const troubles = async (seed: number) => {
      const other = await aSimulator({ seed: 1 });
      const rates = { drop: 0.5, duplicate: 0.5 };
      await other.command("PUT", "/webhooks/key_one", { url: receiver.url, disorder: { seed, rates, maxMs: 1 } });
      const fates: unknown[] = [];
      for (let n = 0; n < 10; n++) {
        const { chat_id } = await other.sdk().create({ agent_id: "agent_shop" });
        const [found] = await other.deliveries(1, `&chat_id=${chat_id}`);
        fates.push(found?.error ?? "sent");
      }
      await other.stop();
      return fates;
    };
    const drawn = await troubles(7);
    expect(new Set(drawn).size).toBe(2);
    expect(await troubles(7)).toEqual(drawn);
    expect(await troubles(8)).not.toEqual(drawn);
  });

  test("rates that add up to more than 1 are refused", async () => {
    await expect(disorder({ drop: 0.6, swap: 0.6 })).rejects.toThrow("400");
  });
});

describe("nothing about a webhook hurts the simulator", () => {
  /** A receiver that says these bytes to whatever it gets, and hangs up unless it is to stay. */
  const saying = async (bytes: string, stays = false) => {
    const server = createServer((socket) => {
      socket.on("error", () => {});
      socket.once("data", () => (stays ? socket.write(bytes) : socket.end(bytes)));
    });
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    stops.push(async () => void server.close());
    const address = server.address();
    return `http://127.0.0.1:${typeof address === "object" ? address?.port : ""}`;
  };

  test.each([
    ["nothing", ""],
    ["no HTTP", "SSH-2.0-OpenSSH_9.9\r\n"],
    ["half an answer", "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf"],
    ["an upgrade", "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: tea\r\n\r\n"],
  ])("a receiver that says %s has failed", async (_, bytes) => {
    await webhook({ url: await saying(bytes), retries: 1, beforeAnswer: true });
    const chat_id = await aChat();
    expect(await deliveries(2)).toMatchObject([{ attempt: 1, error: expect.any(String) }, { attempt: 2 }]);
    expect((await say(chat_id, "ping")).messages).toHaveLength(1);
  });

  test("an answer that never ends is none", async () => {
    const url = await saying("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf", true);
    await webhook({ url, retries: 0, timeoutMs: 20 });
    await aChat();
    expect(await deliveries(1)).toMatchObject([{ error: "timeout" }]);
  });

  test("one that is not there has failed, with the reason, and the caller is answered", async () => {
    const gone = await anotherReceiver();
    await gone.stop();
    await webhook({ url: gone.url, retries: 0, beforeAnswer: true, events: ["chat_started", "chat_ended"] });
    await chats.end(await aChat());
    expect(await deliveries(2)).toMatchObject([{ error: "ECONNREFUSED" }, { error: "ECONNREFUSED" }]);
  });

  test("a stop waits for none that is under way, nor for the caller who does", async () => {
    const other = await aSimulator();
    await other.command("PUT", "/webhooks/key_one", { url: receiver.url, beforeAnswer: true });
    receiver.answers.push("hang");
    const outcome = other
      .sdk()
      .create({ agent_id: "agent_shop" })
      .catch((error: Error) => error.constructor.name);
    await receiver.arrived(1);
    await other.stop();
    expect(await outcome).toBe("APIConnectionError");
    await receiver.gone();
  });

  test("only this machine is ever called, and only by http", async () => {
    for (const url of [
      "https://127.0.0.1/hook",
      "http://example.com/",
      "http://127.0.0.1.example.com/",
      "http://10.0.0.1/",
      "http://localhost@example.com/",
      "ftp://localhost/",
      "nowhere",
    ]) {
      await expect(webhook({ url })).rejects.toThrow(/400.*loopback/);
      await expect(retell.agent("agent_far", { webhook_url: url })).rejects.toThrow(/400.*loopback/);
    }
    for (const url of ["http://localhost:3000/hook", "http://127.0.0.2", "http://[::1]:3000"]) {
      expect(await webhook({ url })).toMatchObject({ url });
    }
  });

  test("who is told outlives a restart", async () => {
    const directory = await mkdtemp(join(tmpdir(), "retell-webhooks-"));
    const stateFile = join(directory, "state.json");
    const first = await aSimulator({ stateFile });
    await first.command("PUT", "/webhooks/key_one", { url: receiver.url, signingKeys: ["key_badge"] });
    await first.stop();
    const second = await aSimulator({ stateFile });
    await second.sdk().create({ agent_id: "agent_shop" });
    const [told] = await receiver.arrived(1);
    expect(told && (await isSigned(told, "key_badge"))).toBe(true);
    await second.stop();
    await rm(directory, { recursive: true });
  });
});
