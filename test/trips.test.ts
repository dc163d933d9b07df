import { ObjectId } from "mongodb";
import { afterEach, beforeAll, describe, expect, it } from "vitest";
import { aChatBy, anInstance, aWire, type Instance, owned, verdict } from "./support/wire.ts";
import {
  aMembership,
  aUser,
  aWorld,
  central,
  control,
  fault,
  type Name,
  type Request,
  type User,
  type World,
} from "./support/world.ts";

const wire = await aWire();
afterEach(() => wire.heal());

/** Makes what a request is about, through an instance, and gives the request. */
type Prepare = (world: World, instance: Instance) => Promise<Request>;

const newChat: Prepare = async (world) => ({ ...owned(world), body: { agentId: world.agentId } });
const ongoing: Prepare = async (world, instance) => ({ ...owned(world), chatId: await aChatBy(instance, world) });
const ended: Prepare = async (world, instance) => {
  const request = await ongoing(world, instance);
  await instance.call("end", request);
  return request;
};
const with_: (prepare: Prepare, more: (request: Request, instance: Instance) => Promise<unknown>) => Prepare =
  (prepare, more) => async (world, instance) => {
    const request = await prepare(world, instance);
    await more(request, instance);
    return request;
  };

interface Case {
  what: string;
  name: Name;
  prepare: Prepare;
  more?: Request;
  /** The caller has called this instance before. */
  warm: string;
  /** Another instance knows the caller, this one knows others of the subaccount. */
  elsewhere: string;
  /** A new instance; others of the fleet have filled Redis. */
  cold: string;
  /** A new instance, and nothing in Redis. */
  alone: string;
}

const cases: Case[] = [
  {
    what: "list, cached",
    name: "list",
    prepare: async (world, instance) => {
      await instance.call("list", owned(world));
      return owned(world);
    },
    warm: "U",
    elsewhere: "U → U",
    cold: "U → U",
    alone: "U → M∥M → U → M → U",
  },
  {
    what: "list, not cached",
    name: "list",
    prepare: async (world, instance) => {
      await ongoing(world, instance);
      return owned(world);
    },
    warm: "U → M → U",
    elsewhere: "U → U → M → U",
    cold: "U → U → M → U",
    alone: "U → M∥M → U → M → U",
  },
  {
    what: "transcript of an ended chat, cached",
    name: "transcript",
    prepare: with_(ended, (request, { call }) => call("transcript", request)),
    warm: "U",
    elsewhere: "U → U",
    cold: "U → U",
    alone: "U → M∥M → U → M → U",
  },
  {
    what: "transcript of an ended chat, not cached",
    name: "transcript",
    prepare: ended,
    warm: "U → M → U",
    elsewhere: "U → U → M → U",
    cold: "U → U → M → U",
    alone: "U → M∥M → U → M → U",
  },
  {
    what: "transcript of an ongoing chat, nothing new",
    name: "transcript",
    prepare: ongoing,
    warm: "U → M → R",
    elsewhere: "U → U → M → R",
    cold: "U → U → M → R",
    alone: "U → M∥M → U → M → M → R∥U",
  },
  {
    what: "transcript of an ongoing chat, with news",
    name: "transcript",
    prepare: with_(ongoing, ({ chatId }) =>
      control("retell", "PATCH", `/chats/${chatId}`, { add: [{ role: "agent", content: "Are you there?" }] }),
    ),
    warm: "U → M → R → M∥M",
    elsewhere: "U → U → M → R → M∥M",
    cold: "U → U → M → R → M∥M",
    alone: "U → M∥M → U → M → M → R∥U → M∥M",
  },
  {
    what: "message",
    name: "message",
    prepare: ongoing,
    more: { body: { content: "ping" } },
    warm: "U → M → R → M∥M",
    elsewhere: "U → U → M → R → M∥M",
    cold: "U → U → M → R → M∥M",
    alone: "U → M∥M → U → M → M∥U → R → M∥M",
  },
  {
    what: "create",
    name: "create",
    prepare: newChat,
    warm: "U → M → R → M∥M → U",
    elsewhere: "U → U → M → R → M∥M → U",
    cold: "U → U → M → R → M∥M → U",
    alone: "U → M∥M → U → M∥M → R∥U → M∥M → U",
  },
  {
    what: "end",
    name: "end",
    prepare: ongoing,
    warm: "U → M → R → R → M → U",
    elsewhere: "U → U → M → R → R → M → U",
    cold: "U → U → M → R → R → M → U",
    alone: "U → M∥M → U → M → M → R∥U → R → M → U",
  },
];

// The first request of a new Redis loads the scripts of the limits.
beforeAll(async () => {
  const world = await aWorld();
  const instance = await anInstance();
  await instance.call("message", { ...(await ongoing(world, instance)), body: { content: "ping" } });
});

// A pause of the machine between two calls looks like a trip. A real trip appears in every try.
describe.each(cases)("trips: $what", { retry: 2 }, ({ name, prepare, more, ...expected }) => {
  const request: Prepare = async (world, instance) => ({ ...(await prepare(world, instance)), ...more });

  it(`a caller whom this instance knows: ${expected.warm}`, async () => {
    const world = await aWorld();
    const instance = await anInstance();
    await ok(instance, name, await request(world, instance));
    const second = await request(world, instance);
    expect(await wire.steps(() => ok(instance, name, second))).toBe(expected.warm);
  });

  it(`a caller whom another instance knows: ${expected.elsewhere}`, async () => {
    const world = await aWorld();
    const colleague = await aColleague(world);
    const [here, there] = [await anInstance(), await anInstance()];
    await ok(here, name, await request({ ...world, owner: colleague }, here));
    await ok(there, name, await request(world, there));
    const next = await request(world, there);
    expect(await wire.steps(() => ok(here, name, next))).toBe(expected.elsewhere);
  });

  it(`a new instance: ${expected.cold}`, async () => {
    const world = await aWorld();
    const [here, there] = [await anInstance(), await anInstance()];
    await ok(there, name, await request(world, there));
    const next = await request(world, there);
    expect(await wire.steps(() => ok(here, name, next))).toBe(expected.cold);
  });

  it(`a new instance, with an empty Redis: ${expected.alone}`, async () => {
    const world = await aWorld();
    const [here, there] = [await anInstance(), await anInstance()];
    const first = await request(world, there);
    await wire.flush();
    expect(await wire.steps(() => ok(here, name, first))).toBe(expected.alone);
  });
});

describe("trips of what is refused", () => {
  it("a request without a token or for no route costs none, one that is not valid is counted", async () => {
    const world = await aWorld();
    const { call } = await anInstance();
    expect(await wire.steps(() => call("message", { subaccountId: world.subaccountId, chatId: "chat_any" }))).toBe("");
    expect(await wire.steps(() => call("create", { ...owned(world), body: {} }))).toBe("U");
    expect(await wire.steps(() => call("default"))).toBe("");
    expect(await wire.steps(() => call("health"))).toBe("");
  });

  it("a user who is over the limit costs none once this instance knows it", async () => {
    const world = await aWorld();
    const { call } = await anInstance({ RATE_LIMIT_USER: "1" });
    await call("list", owned(world));
    const refused = (body: unknown) => async () => {
      expect((await call("create", { ...owned(world), body })).status).toBe(429);
    };
    await refused({})();
    for (const body of [{}, "{", { agentId: world.agentId }]) expect(await wire.steps(refused(body))).toBe("");
  });

  it("a stranger costs one look in Mongo, and nothing goes on when the answer has left", async () => {
    const world = await aWorld();
    const { call } = await anInstance();
    const request = { ...owned(world), token: world.stranger.token };
    expect(await wire.steps(() => call("list", request))).toBe("U → M∥M → U");
    expect(await wire.steps(() => call("list", request))).toBe("U");
  });

  it("an unknown agent costs no call to Retell, and nothing goes on when the answer has left", async () => {
    const world = await aWorld();
    const { call } = await anInstance();
    const request = { ...owned(world), body: { agentId: "agent_of_nobody" } };
    expect(await wire.steps(() => call("create", request))).toBe("U → M∥M → U → M∥M → U");
    expect(await wire.steps(() => call("create", request))).toBe("U → M");
  });
});

describe("trips in special cases", () => {
  it("an Idempotency-Key costs a message none, and a create two commands beside others; a repeat asks Retell nothing", async () => {
    const world = await aWorld();
    const instance = await anInstance();
    const keyed = { headers: { "idempotency-key": crypto.randomUUID() } };
    const message = { ...(await ongoing(world, instance)), ...keyed, body: { content: "ping" } };
    expect(await wire.steps(() => ok(instance, "message", message))).toBe("U → M → R → M∥M");
    expect(await wire.steps(() => ok(instance, "message", message))).toBe("U → M → M → M");
    const create = { ...(await newChat(world, instance)), ...keyed };
    expect(await wire.steps(() => ok(instance, "create", create))).toBe("U → M∥M → R → M∥M → M∥U");
    expect(await wire.steps(() => ok(instance, "create", create))).toBe("U → M∥M → M");
  });

  it("the first requests of a new Redis bring the limits' script: one trip more, once", async () => {
    const world = await aWorld();
    const { call } = await anInstance();
    await call("list", owned(world));
    await wire.redis("SCRIPT", "FLUSH");
    expect(await wire.steps(() => call("list", owned(world)))).toBe("U → U");
    expect(await wire.steps(() => call("list", owned(world)))).toBe("U");
  });

  it("a page of the list that is never cached costs no write to Redis", async () => {
    const world = await aWorld();
    const { call } = await anInstance();
    await call("list", owned(world));
    expect(await wire.steps(() => call("list", { ...owned(world), query: { limit: "7" } }))).toBe("U → M");
  });

  it("an ongoing chat that was read within the last second is not read at Retell again", async () => {
    const world = await aWorld();
    const instance = await anInstance();
    const request = await ongoing(world, instance);
    await instance.call("transcript", request);
    expect(await wire.steps(() => instance.call("transcript", request))).toBe("U → M");
  });

  it("ending a chat that is over costs one read", async () => {
    const world = await aWorld();
    const instance = await anInstance();
    const request = await ended(world, instance);
    expect(await wire.steps(() => instance.call("end", request))).toBe("U → M");
  });

  it("a turn that may have ended the chat costs one more read at Retell, beside the write", async () => {
    const world = await aWorld();
    const instance = await anInstance();
    const request = await ongoing(world, instance);
    const say = (content: string) => () => instance.call("message", { ...request, body: { content } });
    expect(await wire.steps(say("silence"))).toBe("U → M → R → M∥M∥R");
    expect(await wire.steps(say("goodbye"))).toBe("U → M → R → M∥M∥R → M → M → U");
  });
});

async function ok(instance: Instance, name: Name, request: Request): Promise<void> {
  const { status, body } = await instance.call(name, request);
  expect([status, body.code]).toEqual([200, undefined]);
}

async function aColleague({ subaccountId }: World): Promise<User> {
  const user = await aUser();
  await aMembership(subaccountId, user.id, ["read", "write"]);
  return user;
}

describe("when an error answer leaves, nothing is left to do in Redis:", () => {
  it.each<[Name, string]>([
    ["end", "end"],
    ["transcript", "retrieve"],
  ])("the account whose key Retell refused is forgotten by then (%s)", async (name, step) => {
    const world = await aWorld();
    const instance = await anInstance();
    const request = { ...owned(world), chatId: await aChatBy(instance, world) };
    await central
      .collection("retellaccounts")
      .updateOne({ subaccountId: new ObjectId(world.subaccountId) }, { $set: { isActive: false } });
    await fault(world, step, { kind: "status", status: 401 });
    await wire.redisFault("slow", 150); // longer than the parallel read in MongoDB
    const steps = await wire.steps(async () => {
      const query = { consistency: "strong" };
      const answer = await instance.call(name, name === "transcript" ? { ...request, query } : request);
      expect(verdict(answer)).toEqual([400, "RETELL_ACCOUNT_INACTIVE"]);
    });
    expect(steps).toBe("U → M → R → M∥U");
  });
});
