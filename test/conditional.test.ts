import { describe, expect, it } from "vitest";
import { namesEtag } from "../lib/api/headers.ts";
import { aGateway } from "./support/gateway.ts";
import { aChatBy, anInstance, aWire, owned } from "./support/wire.ts";
import { aChat, aWorld, call, fault, type Name, type Request } from "./support/world.ts";

const wire = await aWire();

/** A request for what an answer with this ETag says. */
const unless = (request: Request, etag: string | undefined): Request => ({
  ...request,
  headers: { ...request.headers, "if-none-match": etag ?? "" },
});

describe("an unchanged answer", () => {
  it.each<[string, Name]>([
    ["list", "list"],
    ["transcript of an ongoing chat", "transcript"],
    ["transcript of an ended chat", "transcript"],
  ])("of a %s is 304 without a body, from the database and from the cache, until it changes", async (what, name) => {
    const world = await aWorld();
    const chat = { ...owned(world), chatId: await aChat(world) };
    if (what.includes("ended")) await call("end", chat);
    const request = name === "list" ? owned(world) : chat;
    const first = await call(name, request);
    const { etag } = first.headers;
    expect(etag).toMatch(/^W\/"[\w-]{22}"$/);
    const again = await call(name, unless(request, etag));
    expect([again.status, again.body, again.headers.etag]).toEqual([304, "", etag]);
    expect(again.headers).not.toHaveProperty("content-type");
    expect(Number(again.headers["ratelimit-remaining"])).toBe(Number(first.headers["ratelimit-remaining"]) - 1);
    expect((await call(name, request)).headers.etag).toBe(etag);

    if (what.includes("ended"))
      await world.db.collection("chats").updateOne({}, { $set: { chat_cost: { combined_cost: 1 } } });
    else await call("message", { ...chat, body: { content: "ping" } });
    await aChat(world); // forgets the list
    const query = what.includes("ended") ? { query: { limit: "9" } } : {}; // not from the cache
    const changed = await call(name, unless({ ...request, ...query }, etag));
    expect(changed.status).toBe(200);
    expect(changed.headers.etag).not.toBe(etag);
  });

  it("costs the round trips of its answer, and fills the cache as that does", async () => {
    const world = await aWorld();
    const instance = await anInstance();
    const request = { ...owned(world), chatId: await aChatBy(instance, world) };
    await instance.call("end", request);
    const { etag } = (await instance.call("transcript", { ...request, query: { consistency: "strong" } })).headers;
    await wire.flush();
    await instance.call("list", owned(world)); // the limits' script, and the permission
    const asked = unless(request, etag);
    const steps = async () =>
      wire.steps(async () => expect((await instance.call("transcript", asked)).status).toBe(304));
    expect([await steps(), await steps()]).toEqual(["U → M → U", "U"]);
  });

  it("is none while it is stale: no ETag, and 200 whatever is asked for", async () => {
    const world = await aWorld();
    const request = { ...owned(world), chatId: await aChat(world) };
    await fault(world, "retrieve", { kind: "status", status: 503 });
    const stale = await call("transcript", unless(request, "*"));
    expect([stale.status, stale.body.meta.stale, stale.headers.etag]).toEqual([200, true, undefined]);
  });

  it("passes the gateway", async () => {
    const world = await aWorld();
    const gateway = await aGateway();
    const path = `${gateway.url}/api/chats/${world.subaccountId}/list`;
    const headers = { authorization: `Bearer ${world.owner.token}` };
    const etag = (await fetch(path, { headers })).headers.get("etag") ?? "";
    const answer = await fetch(path, { headers: { ...headers, "if-none-match": etag } });
    expect([answer.status, await answer.text(), answer.headers.get("etag")]).toEqual([304, "", etag]);
  });
});

it.each([
  ['W/"a"', true],
  ['"a"', true],
  ['"b", W/"a"', true],
  ['"b,","a"', true],
  [" * ", true],
  ['W/"b"', false],
  ["a", false],
  ['"*"', false],
  ['"a', false],
  ["", false],
  [undefined, false],
])('If-None-Match: %s names W/"a": %s', (header, expected) => {
  expect(namesEtag(header, '"a"')).toBe(expected);
});
