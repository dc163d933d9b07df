import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { type Access, type Actor, checkPermission } from "../../lib/access/membership.ts";
import { methodsOf, routes } from "../../lib/api/routes.ts";
import { Cursor, encodeCursor } from "../../lib/chat/cursor.ts";
import { visibleMessages } from "../../lib/chat/view.ts";
import { ApiError } from "../../lib/platform/errors.ts";
import { describe as inLog } from "../../lib/platform/logger.ts";
import { readCompletion } from "../../lib/retell/schema.ts";

describe("decide", () => {
  const member: Access = {
    readAt: 0,
    epoch: "",
    membership: {
      role: "editor",
      isActive: true,
      permissions: { read: true, write: false, delete: false, admin: false },
      expiresAt: null,
    },
    subaccount: { isActive: true, maintenanceMode: false },
  };
  const actor = (role: Actor["role"]): Actor => ({ id: "u", role });

  it("grants a flag that is set and no other, whatever the token's role but super_admin", () => {
    for (const role of ["user", "admin"] as const) {
      expect(checkPermission(member, actor(role), "read", 1).allowed).toBe(true);
      expect(checkPermission(member, actor(role), "write", 1).allowed).toBe(false);
    }
    expect(checkPermission(member, actor("super_admin"), "admin", 1).allowed).toBe(true);
  });

  it("ends a temporary access at its very end", () => {
    const access = { ...member, membership: { ...member.membership, expiresAt: 100 } } as Access;
    expect(checkPermission(access, actor("user"), "read", 99).allowed).toBe(true);
    expect(checkPermission(access, actor("user"), "read", 100)).toEqual({ allowed: false, effectiveRole: "none" });
  });
});

describe("cursors", () => {
  it("come back as they went", () => {
    fc.assert(
      fc.property(fc.integer(), fc.stringMatching(/^[A-Za-z0-9._:-]{1,128}$/), (start_timestamp, chat_id) => {
        expect(Cursor.parse(encodeCursor({ start_timestamp, chat_id }))).toEqual({ start_timestamp, chat_id });
      }),
    );
  });

  it("are refused, whatever else they are", () => {
    fc.assert(
      fc.property(fc.oneof(fc.string(), fc.json(), fc.base64String()), (text) => {
        const { success, data, error } = Cursor.safeParse(text);
        if (success) expect(Cursor.parse(encodeCursor(data))).toEqual(data);
        else expect(error.issues).toHaveLength(1);
      }),
    );
  });
});

describe("what of an error stands in a log", () => {
  it("holds our words and the runtime's, and none of a dependency's", () => {
    const secret = "what the user said";
    const foreign = Object.assign(new Error(secret), { name: "UpstashError", status: 400 });
    const parsing = new SyntaxError(`Unexpected token in "${secret}"`);
    const wrapped = new ApiError("INTERNAL_ERROR", { cause: Object.assign(foreign, { cause: parsing }) });
    const text = JSON.stringify(inLog(wrapped));
    expect(text).not.toContain(secret);
    expect(text).toContain("Something went wrong on our side");
    expect(text).toContain('"status":400');
    expect(inLog("thrown text")).toEqual({ name: "thrown string" });
  });
});

it("messages keep their seq when opening messages are put in front of them, and hide what is superseded", () => {
  const messages = [
    { role: "agent", content: "opening" },
    { role: "user", content: "ok", internal: { turn: "A", failed: true as const } },
    { role: "user", content: "ok", internal: { supersedes: "A" } },
    { role: "agent", content: "fine" },
  ];
  const shown = visibleMessages({ messages, internal: { revision: 1, retellUserCount: 1, prependedCount: 1 } }, false);
  expect(shown.map(({ content, seq }) => [content, seq])).toEqual([
    ["opening", 0],
    ["ok", 2],
    ["fine", 3],
  ]);
});

it("of sends with one key only the last is shown, if those before have failed, and only where they say the same", () => {
  const sent = (turn: string, internal: object, content = "ok") => ({
    role: "user",
    content,
    internal: { turn, ...internal },
  });
  const failed = { failed: true as const };
  const messages = [
    sent("A", { key: "k1", hash: "h1", ...failed }),
    sent("B", { key: "k2", hash: "h1", ...failed }),
    sent("C", { key: "k1", hash: "h1", ...failed }),
    sent("D", { key: "k1", hash: "h2" }, "something else"),
    sent("E", failed),
    sent("F", {}),
    { role: "user", content: "of no turn", internal: failed },
  ];
  const shown = visibleMessages({ messages, internal: { revision: 1, retellUserCount: 2 } }, false);
  expect(shown.map(({ seq, delivery }) => [seq, delivery])).toEqual([
    [2, "failed"],
    [3, "failed"],
    [4, undefined],
    [5, "failed"],
    [6, undefined],
    [7, "failed"],
  ]);
});

it("a time that is no number is none, and takes nothing else of its entry away", () => {
  const completion = JSON.parse('{"messages": [{"role": "user", "created_timestamp": 1e400}]}');
  const [entry] = readCompletion(completion).data.messages;
  expect(entry).toEqual({ role: "user", created_timestamp: undefined });
});

it("the table knows which methods a path has", () => {
  expect(methodsOf("/api/chats/x/list")).toEqual(["GET"]);
  expect(methodsOf("/api/chats/x/y/end")).toEqual(["POST"]);
  expect(methodsOf("/api/chats/x/list/more")).toEqual([]);
  expect(methodsOf("$default")).toEqual([]);
  expect(Object.entries(routes).every(([name, route]) => route.name === name)).toBe(true);
});
