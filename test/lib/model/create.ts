/**
 * A create with an Idempotency-Key as a small model: two attempts with one key, each of which may be stopped for any time
 * and go on, the sweep that ends orphans, and a client that ends or deletes the chat that it was given. None of it is the real code:
 * the writes of lib/chat/create.ts, create-keys.ts and sweep/ are modelled by what they check.
 */
export interface CreateClauses {
  /** An orphan is ended once a tombstone keeps others from storing it. */
  tombstone: boolean;
  /** An attempt that cannot store its chat, as it is stored, looks whose it is. */
  duplicate: boolean;
  /** A chat that is stored under a key stands for it, over or not. */
  handedOut: boolean;
  /** A chat that could not be stored is kept from the key's repeats before it is ended. */
  disown: boolean;
  /** What is left of a deleted chat keeps the name of its key. */
  deleted: boolean;
}

interface Stored {
  /** Its key's repeats find it. */
  isNamed: boolean;
  /** A tombstone, and why; else a chat. */
  gone?: "orphan" | "unstored" | "deleted";
}

interface Remote {
  id: string;
  isOver: boolean;
  /** Old enough to be an orphan, which is later than SETTLE. */
  isOld: boolean;
}

type At = "claim" | "find" | "list" | "judge" | "adopt" | "create" | "insert" | "failed" | "end" | "note" | "over";

interface Attempt {
  name: string;
  at: At;
  /** The chat that it works on. */
  chat?: string;
  told?: string;
  /** Its lease is over; SETTLE is. Both count from its claim. */
  time: "young" | "lease" | "settled";
}

interface World {
  request: { owner: string; state: "running" | "unknown"; chat?: string } | undefined;
  stored: Record<string, Stored>;
  retell: Remote[];
  /** Attempts whose chat Retell has not made yet. */
  late: string[];
  attempts: Attempt[];
  sweep: { runs: number; at: "idle" | "know" | "end"; listed: string[]; buried: string[] };
  /** Chats that a client or the agent has ended. */
  closed: string[];
  violation?: string;
}

type Next = [label: string, world: World];

const start: World = {
  request: undefined,
  stored: {},
  retell: [],
  late: [],
  attempts: ["P", "Q"].map((name) => ({ name, at: "claim", time: "young" })),
  sweep: { runs: 2, at: "idle", listed: [], buried: [] },
  closed: [],
};

const isLive = ({ stored }: World, chat: string) => stored[chat] !== undefined && !stored[chat]?.gone;
const named = ({ stored }: World) => Object.keys(stored).find((chat) => stored[chat]?.isNamed);
const handedOut = ({ attempts }: World) =>
  attempts.flatMap(({ told }) => (told?.startsWith("200 ") ? told.slice(4) : []));

function endAtRetell(w: World, chat: string): World {
  const isOpen = w.stored[chat]?.gone !== "deleted" && w.retell.some(({ id, isOver }) => id === chat && !isOver);
  const violation = isOpen && handedOut(w).includes(chat) ? `${chat} is ended after it was handed out` : w.violation;
  return {
    ...w,
    retell: w.retell.map((one) => (one.id === chat ? { ...one, isOver: true } : one)),
    ...(violation ? { violation } : {}),
  };
}

/** Puts a tombstone in the place of a chat. Undefined: the chat is stored. */
function bury(w: World, chat: string, gone: "orphan" | "unstored"): World | undefined {
  if (w.stored[chat]) return w.stored[chat].gone ? w : undefined;
  return { ...w, stored: { ...w.stored, [chat]: { isNamed: false, gone } } };
}

function* attempt(w: World, i: number, me: Attempt, clauses: CreateClauses): Generator<Next> {
  const set = (to: World, change: Partial<Attempt>): World => ({
    ...to,
    attempts: to.attempts.with(i, { ...me, ...change }),
  });
  const say = (to: World, told: string): World => {
    const after = set(to, { at: "over", told });
    const others = new Set(handedOut(after));
    return others.size > 1 ? { ...after, violation: `one key is told of ${[...others].join(" and ")}` } : after;
  };
  const next = (label: string, to: World): Next => [`${me.name}: ${label}`, to];
  const chat = me.chat ?? "";
  switch (me.at) {
    case "claim": {
      const { request } = w;
      const claimed = { ...w, request: { owner: me.name, state: "running" as const } };
      if (!request) return yield next("claims the key", set(claimed, { at: "create", time: "young" }));
      if (request.owner === me.name) return yield next("goes on", set(w, { at: "create", time: "young" }));
      if (request.chat) {
        if (isLive(w, request.chat)) return yield next("replays", say(w, `200 ${request.chat}`));
        return yield next("finds it gone", say(w, "404"));
      }
      const owner = w.attempts.find(({ name }) => name === request.owner);
      if (request.state === "running" && owner?.time === "young") return yield next("finds it busy", say(w, "409"));
      return yield next("looks for the chat", set(w, { at: "find" }));
    }
    case "find": {
      const found = named(w);
      if (found && w.stored[found]?.gone) return yield next("finds it deleted", say(w, "404"));
      if (found && clauses.handedOut) return yield next("finds it stored", set(w, { at: "note", chat: found }));
      if (found) return yield next("finds it stored, and reads it", set(w, { at: "judge", chat: found }));
      return yield next("finds none stored", set(w, { at: "list" }));
    }
    case "list": {
      const found = w.retell[0]?.id;
      if (found) return yield next(`finds ${found} at Retell`, set(w, { at: "judge", chat: found }));
      return yield again(w);
    }
    case "judge": {
      const isOver = w.retell.some(({ id, isOver }) => id === chat && isOver);
      if (!isOver) return yield next("takes it over", set(w, { at: isLive(w, chat) ? "note" : "adopt" }));
      if (w.stored[chat]?.gone && w.stored[chat].gone !== "unstored") return yield next("finds it gone", say(w, "404"));
      const { [chat]: mine, ...rest } = w.stored;
      const freed =
        mine && !mine.gone && !clauses.handedOut ? { ...w, stored: { ...rest, [chat]: { isNamed: false } } } : w;
      return yield again(freed);
    }
    case "create": {
      const id = `chat-${me.name}`;
      const made = { ...w, retell: [...w.retell, { id, isOver: false, isOld: false }] };
      const unknown = w.request?.owner === me.name ? { request: { ...w.request, state: "unknown" as const } } : {};
      yield next("creates a chat", set(made, { at: "insert", chat: id }));
      yield next("creates a chat, no answer", say({ ...made, ...unknown }, "504"));
      yield next("gets no answer", say({ ...w, ...unknown, late: [...w.late, id] }, "504"));
      return yield next("is refused", say(w.request?.owner === me.name ? { ...w, request: undefined } : w, "503"));
    }
    case "insert":
    case "adopt": {
      const isTaken = w.stored[chat] !== undefined || named(w) !== undefined;
      const after = { ...w, stored: { ...w.stored, [chat]: { isNamed: true } } };
      if (!isTaken) yield next("stores the chat", set(after, { at: "note" }));
      else if (!clauses.duplicate && me.at === "insert") yield next("meets a duplicate", set(w, { at: "end" }));
      else yield duplicate();
      if (me.at === "adopt") return yield next("does not reach the database", say(w, "503"));
      if (!isTaken) yield next("stores the chat, without an answer", set(after, { at: "failed" }));
      return yield next("does not reach the database", set(w, { at: "failed" }));
    }
    case "failed": {
      if (!clauses.disown) return yield next("gives up", set(w, { at: "end" }));
      const buried = bury(w, chat, "unstored");
      if (buried) yield next("buries the chat", set(buried, { at: "end" }));
      return yield next("leaves it to a repeat or the sweep", say(w, "503"));
    }
    case "end":
      return yield next("ends its chat", say(endAtRetell(w, chat), "503"));
    case "note": {
      const noted = w.request ? { ...w, request: { ...w.request, chat } } : w;
      yield next("notes the chat", say(noted, `200 ${chat}`));
      return yield next("cannot note the chat", say(w, `200 ${chat}`));
    }
    case "over":
  }

  /** Nothing has come of the key: another attempt is made, once nothing can come of it any more. */
  function again(from: World): Next {
    const owner = from.attempts.find(({ name }) => name === from.request?.owner);
    if (owner?.time !== "settled") return next("waits", say(from, "409"));
    return next("takes the key over", set({ ...from, request: { owner: me.name, state: "running" } }, { at: "claim" }));
  }

  /** What stands in the way of a chat that cannot be stored. */
  function duplicate(): Next {
    const theirs = isLive(w, chat) ? chat : named(w);
    if (!theirs) return next("finds a tombstone", say(w, "404"));
    const buried = theirs === chat ? undefined : bury(w, chat, "unstored");
    const after = buried ? endAtRetell(buried, chat) : w;
    if (w.stored[theirs]?.gone) return next("finds that it was deleted", say(after, "404"));
    return next("finds whose it is", set(after, { at: "note", chat: theirs }));
  }
}

function* sweep(w: World, clauses: CreateClauses): Generator<Next> {
  const { runs, at, listed, buried } = w.sweep;
  const set = (to: World, change: Partial<World["sweep"]>): World => ({ ...to, sweep: { ...to.sweep, ...change } });
  if (at === "idle") {
    const open = w.retell.filter(({ isOver, isOld }) => isOld && !isOver).map(({ id }) => id);
    if (runs > 0 && open.length > 0)
      yield ["the sweep lists old chats", set(w, { at: "know", listed: open, runs: runs - 1 })];
  } else if (at === "know") {
    const unknown = listed.filter((id) => !isLive(w, id));
    yield ["the sweep reads which it knows", set(w, { at: unknown.length > 0 ? "end" : "idle", listed: unknown })];
  } else {
    const [id, ...rest] = listed;
    if (id === undefined) return yield ["the sweep is done", set(w, { at: "idle", buried: [] })];
    if (clauses.tombstone && !buried.includes(id)) {
      const after = bury(w, id, "orphan");
      if (after) yield [`the sweep buries ${id}`, set(after, { buried: [...buried, id] })];
      else yield [`the sweep leaves ${id}`, set(w, { listed: rest })];
    } else yield [`the sweep ends ${id}`, set(endAtRetell(w, id), { listed: rest })];
  }
}

function* next(w: World, clauses: CreateClauses): Generator<Next> {
  for (const [i, me] of w.attempts.entries()) {
    if (me.at !== "over") yield* attempt(w, i, me, clauses);
    const pass = (time: Attempt["time"]): World => ({ ...w, attempts: w.attempts.with(i, { ...me, time }) });
    // No call to Retell takes as long as a lease.
    if (me.time === "young" && me.at !== "claim" && me.at !== "create") {
      yield [`the lease of ${me.name} is over`, pass("lease")];
    }
    if (me.time === "lease" && !w.late.includes(`chat-${me.name}`))
      yield [`SETTLE of ${me.name} is over`, pass("settled")];
  }
  for (const id of w.late) {
    const retell = [...w.retell, { id, isOver: false, isOld: false }];
    yield [`Retell makes ${id}`, { ...w, retell, late: w.late.filter((one) => one !== id) }];
  }
  for (const chat of w.retell) {
    const maker = w.attempts.find(({ name }) => chat.id === `chat-${name}`);
    const change = (to: Partial<Remote>) => w.retell.map((one) => (one === chat ? { ...one, ...to } : one));
    if (!chat.isOld && maker?.time === "settled")
      yield [`${chat.id} is old`, { ...w, retell: change({ isOld: true }) }];
    if (!chat.isOver && handedOut(w).includes(chat.id))
      yield [`a client ends ${chat.id}`, { ...w, retell: change({ isOver: true }), closed: [...w.closed, chat.id] }];
    if (isLive(w, chat.id) && handedOut(w).includes(chat.id)) {
      const deleted = { ...w.stored, [chat.id]: { isNamed: clauses.deleted, gone: "deleted" as const } };
      const retell = w.retell.filter((one) => one !== chat);
      yield [`a client deletes ${chat.id}, at Retell too`, { ...w, stored: deleted, retell }];
      yield [`a client deletes ${chat.id}, which goes on at Retell`, { ...w, stored: deleted }];
    }
  }
  yield* sweep(w, clauses);
}

/** What is wrong once everybody has died and the sweep and one more repeat have done their work. */
function wrongAtRest(w: World, clauses: CreateClauses): string | undefined {
  let rest: World = {
    ...w,
    attempts: [
      ...w.attempts.map((one) => ({ ...one, time: "settled" as const })),
      { name: "R", at: "claim", time: "young" },
    ],
    retell: [...w.retell, ...w.late.map((id) => ({ id, isOver: false, isOld: false }))],
    late: [],
  };
  const last = rest.attempts.length - 1;
  for (let step = 0; rest.attempts[last]?.at !== "over"; step++) {
    const me = rest.attempts[last];
    if (!me || step > 20) return "a repeat never comes to an end";
    const [first] = attempt(rest, last, me, clauses);
    if (!first) return "a repeat goes nowhere";
    rest = first[1];
  }
  const told = rest.attempts[last]?.told;
  const earlier = handedOut(w)[0];
  if (rest.violation) return rest.violation;
  const right = earlier && w.stored[earlier]?.gone ? "404" : `200 ${earlier}`;
  if (earlier && told !== right) return `${earlier} was handed out, a repeat is told ${told}`;
  rest = { ...rest, retell: rest.retell.map((one) => ({ ...one, isOld: true })), sweep: { ...start.sweep, runs: 1 } };
  for (let [first] = sweep(rest, clauses); first; [first] = sweep(rest, clauses)) rest = first[1];
  const stray = rest.retell.find(({ id, isOver }) => !isOver && !isLive(rest, id));
  if (stray) return `${stray.id} goes on, and nobody has it`;
  return rest.violation;
}

/** Walks through every state; the first violation ends it. */
export function walkCreate(clauses: CreateClauses): { states: number; violation?: string; trace?: string[] } {
  const seen = new Set<string>();
  const open: { world: World; trace: readonly string[] }[] = [{ world: start, trace: [] }];
  // The shortest way to a violation is found first.
  for (const { world, trace } of open) {
    const name = JSON.stringify(world);
    if (seen.has(name)) continue;
    seen.add(name);
    const violation = world.violation ?? wrongAtRest(world, clauses);
    if (violation) return { states: seen.size, violation, trace: [...trace] };
    for (const [label, after] of next(world, clauses)) open.push({ world: after, trace: [...trace, label] });
  }
  return { states: seen.size };
}
