import { ObjectId } from "mongodb";
import { expect, describe as group, it } from "vitest";
import { encrypt } from "../lib/platform/crypto.ts";
import { describe } from "../lib/platform/logger.ts";
import { linesOf, logged } from "./support/instance.ts";
import { aChat, aWorld, call, central, fault } from "./support/world.ts";

/** Of every text there is a part that looks like a line of a stack. */
const canary = "canary-text";
const texts = [
  canary,
  `${canary}\n    at ${canary} (${canary}:4111:1)`,
  `400 no\n    at home, ${canary} 4111:11:1\n    at work (${canary}:1:1)`,
  `\n    at ${canary} (file:///tmp/a.ts:1:1)`,
  `Error\n    at ${canary} (file:///tmp/a.ts:1:1)\nError`,
  `a\n    at ${canary}:1:1\na`,
  `${canary}\r\n    at ${canary}:1:1`,
];

group("what another party's error says stands in no log:", () => {
  it.each(texts)("its message, whatever that looks like: %j", (text) => {
    const errors = [new Error(text), new Error("ours", { cause: new SyntaxError(text) }), aThrown(text)];
    for (const error of errors) expect(JSON.stringify(describe(error))).not.toContain(canary);
  });

  it("the frames of its stack do, and hold where it was thrown", () => {
    for (const text of ["plain", "two\nlines"]) expect(describe(aThrown(text)).stack?.[0]).toMatch(/aThrown/);
  });

  it.each<[string, unknown]>([
    ["a sentence", `user said ${canary}`],
    ["lines of a stack", `\n    at ${canary}:1:1`],
    ["what begins like a code", `E_FAILED: ${canary}`],
    ["a code with more below it", `E_FAILED\n${canary}`],
    ["an object", { toString: () => canary, canary }],
    ["a list", [canary]],
  ])("its code, where that is %s", (_what, code) => {
    expect(JSON.stringify(describe(Object.assign(new Error("x"), { code, status: canary })))).not.toContain(canary);
  });

  it("a code that is one stays: an errno, Mongo's number", () => {
    for (const code of ["ECONNREFUSED", "UND_ERR_SOCKET", 11_000]) {
      expect(describe(Object.assign(new Error("x"), { code })).code).toBe(code);
    }
  });

  it("what is thrown and is no error", () => {
    for (const thrown of [canary, { message: canary, stack: canary }, [canary]]) {
      expect(JSON.stringify(describe(thrown))).not.toContain(canary);
    }
  });

  it.each(texts)("Retell's answer, on its way through an endpoint: %j", async (message) => {
    const world = await aWorld();
    const chatId = await aChat(world);
    await fault(world, "completion", { kind: "status", status: 400, message });
    const request = { token: world.owner.token, subaccountId: world.subaccountId, chatId, body: { content: "ping" } };
    const { status, body } = await call("message", request);
    expect([status, linesOf(body.meta.operationId).at(-1)?.level]).toEqual([503, "ERROR"]);
    expect(logged.join("\n")).not.toContain(canary);
    expect(JSON.stringify(body)).not.toContain(canary);
  });

  it.each<[string, (text: string) => unknown]>([
    ["a header that cannot be sent", (text) => new Headers({ authorization: `Bearer ${text}\n${text}` })],
    ["an argument of another type", (text) => Buffer.alloc(text as never)],
    ["a text that is searched like an object", (text) => "x" in (text as never)],
    ["a list of what are no entries", (text) => new Map([text] as never)],
    ["a function that is none", (text) => [1].map(text as never)],
  ])("the runtime's own words, where they quote a value: %s", (_what, fail) => {
    const error = errorOf(() => fail(canary));
    expect(String(error)).toContain(canary);
    for (const logged of [error, new Error("ours", { cause: error })]) {
      expect(JSON.stringify(describe(logged))).not.toContain(canary);
    }
  });

  it("the runtime's words for the usual mistakes do: they hold no value", () => {
    const absent = undefined as unknown as { name: string };
    expect(describe(errorOf(() => absent.name)).message).toBe("Cannot read properties of undefined (reading 'name')");
  });

  it("a key that makes no header, on its way through an endpoint", async () => {
    const world = await aWorld();
    const apiKey = await encrypt(`key_${canary}\n${canary}`, world.subaccountId);
    const subaccountId = new ObjectId(world.subaccountId);
    await central.collection("retellaccounts").updateOne({ subaccountId }, { $set: { apiKey } });
    const request = { token: world.owner.token, subaccountId: world.subaccountId, body: { agentId: world.agentId } };
    const { status, body } = await call("create", request);
    expect(body.code).toBe("API_KEY_DECRYPTION_ERROR");
    expect([status, linesOf(body.meta.operationId).at(-1)?.level]).toEqual([500, "ERROR"]);
    expect(logged.join("\n")).not.toContain(canary);
  });
});

function aThrown(text: string): Error {
  return new Error(text);
}

function errorOf(fail: () => unknown): unknown {
  try {
    return fail();
  } catch (error) {
    return error;
  }
}
