import { setTimeout as delay } from "node:timers/promises";
import type { Db, WithId } from "mongodb";
import { subaccountOf } from "../../lib/access/subaccount.ts";
import { connectionStringOf } from "../../lib/access/tenant.ts";
import { config } from "../../lib/platform/config.ts";
import { ensureIndexes } from "../../lib/platform/indexes.ts";
import { bounded, central } from "../../lib/platform/mongo.ts";
import { defineCommand, writeFlags } from "../command.ts";
import { reachable } from "../failure.ts";
import { stageTarget } from "../target.ts";
import {
  changeSubaccount,
  forgetOrSay,
  type SubaccountDocument,
  subaccountDocument,
  subaccountDocuments,
} from "./change.ts";
import { copyPass, countChats, otherCollections, type Pass } from "./copy.ts";
import { fence, fencedIn, mayFence, unfence } from "./fence.ts";
import { identityIn, identityOf, isDatabaseName, openPlace, type Place } from "./place.ts";
import { readSecrets, seal, secretFlags, storing } from "./secrets.ts";

const pollMs = 200;
/** This machine's clock has set the time that the instances' copies are compared with. */
const clocksMs = 1_000;
/** After the fence, one pass copies the rest and one finds nothing. More would mean that somebody writes there. */
const maxPasses = 5;

/** In the new database, while a move is under way: what it has of the subaccount is a copy. */
interface CopyNote {
  _id: string;
  at: Date;
}
const copyNotes = (db: Db) => db.collection<CopyNote>("chatsdatabase");
const copyNoteOf = (id: string) => `copy of ${id}`;

interface Move {
  id: string;
  document: WithId<SubaccountDocument>;
  from: Place;
  to: Place;
  /** Where it is then. `url` is undefined on the central cluster. */
  target: { url: string | undefined; databaseName: string };
  forOldServer: boolean;
}

export const command = defineCommand({
  details: `Copies while the chats go on, for PERMISSION_CACHE_SECONDS (a minute) at least. Then requests get 503 with Retry-After for some seconds: writes to the old database are refused from then on, the rest is copied, every document is compared, and the address is changed.
SUBACCOUNT_MONGODB_URL names the new cluster; without it the cluster stays the same. If it is interrupted, repeat it, or take it back with --undo. The old database keeps its copy, which takes no more writes.`,
  flags: {
    subaccount: { type: "id", description: "the subaccount", required: true },
    database: { type: "text", description: "the new database's name" },
    "central-cluster": { type: "boolean", description: "move it to the central cluster" },
    "leave-others": { type: "boolean", description: "leave other collections of the old database where they are" },
    undo: { type: "boolean", description: "take back an interrupted move: the old database takes writes again" },
    ...secretFlags,
    ...writeFlags,
  },
  refuse: ({ database, undo }) => {
    if (undo) return database === undefined ? undefined : "--undo takes no --database";
    if (database === undefined) return "--database TEXT is missing";
    return isDatabaseName(database) ? undefined : "--database may have letters, digits, _ and -, 63 at most";
  },
  target: stageTarget,
  async run(values) {
    await reachable(central());
    const id = values.subaccount;
    const document = await subaccountDocument(id);
    const ownUrl = document.mongodbUrl ? await connectionStringOf(id, subaccountOf({ ...document })) : undefined;
    await using from = await openPlace(ownUrl ?? config().MONGODB_URL, document.databaseName, "its mongodbUrl");
    if (values.undo) return await undo(id, document, from.db, values["dry-run"]);

    const { SUBACCOUNT_MONGODB_URL: given } = await readSecrets(values.stdin);
    if (given && values["central-cluster"])
      throw new Error("SUBACCOUNT_MONGODB_URL and --central-cluster exclude each other");
    const target = {
      url: given ?? (values["central-cluster"] ? undefined : ownUrl),
      databaseName: values.database ?? "",
    };
    const setting = given ? "SUBACCOUNT_MONGODB_URL" : "the new address";
    await using to = await openPlace(target.url ?? config().MONGODB_URL, target.databaseName, setting);
    const move: Move = { id, document, from, to, target, forOldServer: values["for-old-server"] };
    console.log(`from ${from.name}\nto   ${to.name}`);
    await check(move, values["leave-others"]);
    if (values["dry-run"]) return console.log(`would move ${await countChats(from.db, id)} chats`);
    await carryOut(move);
  },
});

/** Everything that a read shows to be in the way. */
async function check({ id, from, to, document }: Move, leaveOthers: boolean): Promise<void> {
  if (from.name === to.name) throw new Error("It is there already");
  const [there, here] = [await identityIn(from.db), await identityIn(to.db)];
  if (there !== undefined && there === here) {
    throw new Error("Both addresses lead to the same database, or one is a plain copy of the other");
  }
  if (document.chatPause && !document.chatPause.isOfMove) {
    throw new Error("It is paused: npm run ops -- resume, then move it");
  }
  const [theirs, ours] = [await fencedIn(from.db), await fencedIn(to.db)];
  if (theirs.includes(id) && !document.chatPause) throw new Error("The old database refuses its writes: --undo first");
  const isCopy = ours.includes(id) || (await copyNotes(to.db).findOne({ _id: copyNoteOf(id) })) !== null;
  if (!isCopy && (await countChats(to.db, id)) > 0) {
    throw new Error("The new database has chats of this subaccount that no move has put there: is it the right one?");
  }
  const others = await otherCollections(from.db);
  if (others.length === 0) return;
  console.log(`other collections of the old database: ${others.join(", ")}`);
  if (!leaveOthers)
    throw new Error("Other collections are not copied: copy them by other means, then add --leave-others");
}

async function carryOut(move: Move): Promise<void> {
  const { id, from, to, document } = move;
  if (!(await mayFence(from.db))) {
    throw new Error(
      "The user of the old database may not change the collection chats: it needs the role dbAdmin there",
    );
  }
  await ensureIndexes(to.db, "tenant");
  await unfence(to.db, id); // where it comes back to a database that it has left
  await copyNotes(to.db).updateOne({ _id: copyNoteOf(id) }, { $set: { at: new Date() } }, { upsert: true });
  const announcedAt = await announce(id, document);
  say("copied while the chats go on", await copyPass(from.db, to.db, id));
  await oldCopiesExpire(announcedAt);

  const pausedAt = performance.now();
  try {
    const pause = { at: new Date(), requests: true, isOfMove: true as const };
    // An instance that reads Redis goes by the epoch there; one that does not has to read MongoDB.
    if (!(await changeSubaccount(id, { $set: { chatPause: pause } }))) await oldCopiesExpire(pause.at);
    await noTurnIsSent(from.db, id);
    await fence(from.db, id);
    for (let passes = 1; ; passes++) {
      const pass = await copyPass(from.db, to.db, id);
      say("compared", pass);
      if (pass.written + pass.deleted === 0) break;
      if (passes >= maxPasses) throw new Error("The old database still changes");
    }
    await switchOver(move);
  } catch (error) {
    console.error(`${id} stays paused: repeat the command to go on, or take it back with --undo`);
    throw error;
  }
  await copyNotes(to.db).deleteOne({ _id: copyNoteOf(id) });
  const seconds = ((performance.now() - pausedAt) / 1_000).toFixed(1);
  console.log(`${id}: moved; requests were refused for ${seconds} s`);
  console.log(`${from.name} keeps the old chats, and refuses their writes. Keep them until a backup has the new ones`);
}

/**
 * Instances use a copy of a subaccount's document for its minute while Redis does not answer. Of one that is being moved
 * they do not: otherwise such an instance would go on reading the old database after the move. Returns since when the
 * document says so.
 */
async function announce(id: string, document: SubaccountDocument): Promise<Date> {
  if (document.chatMove) return document.chatMove.at; // of a move that was interrupted
  const at = new Date();
  await changeSubaccount(id, { $set: { chatMove: { at } } });
  return at;
}

/** Waits until no instance has a copy of the subaccount's document that is older than a change. */
async function oldCopiesExpire(changedAt: Date): Promise<void> {
  const leftMs = changedAt.getTime() + config().PERMISSION_CACHE_SECONDS * 1_000 + clocksMs - Date.now();
  if (leftMs <= 0) return;
  console.log(`waiting ${Math.ceil(leftMs / 1_000)} s, until every instance knows of it`);
  await delay(leftMs);
}

/**
 * Waits for the turns whose sender may be alive: a reply that could not be stored any more would be found only by the next
 * reader. A turn that began a lease ago has no sender.
 */
async function noTurnIsSent(from: Db, subaccountId: string): Promise<void> {
  const leaseMs = config().TURN_LEASE_SECONDS * 1_000;
  const until = Date.now() + leaseMs;
  const isLeased = { $gt: ["$internal.turn.at", { $subtract: ["$$NOW", leaseMs] }] };
  const sending = { subaccountId, "internal.turn.state": "sending", $expr: isLeased };
  while (Date.now() < until && (await from.collection("chats").countDocuments(sending, { limit: 1 })) > 0) {
    await delay(pollMs);
  }
}

/** One write changes the address and ends the pause. The sweep knows the new database before it looks into it. */
async function switchOver({ id, document, to, target, forOldServer }: Move): Promise<void> {
  const { databaseName } = target;
  const notes = (await central()).collection<{ _id: string; database: string }>("chatsweeps");
  const $set = { database: await identityOf(to.db) };
  await bounded(notes.updateOne({ _id: `database of ${id}` }, { $set, $unset: { markedAt: "" } }, { upsert: true }));
  const located = target.url
    ? storing("mongodbUrl", await seal(target.url, id, "subaccount-salt", forOldServer))
    : { $set: {}, $unset: { mongodbUrl: "" as const, encryptionIV: "" as const, encryptionAuthTag: "" as const } };
  const asRead = {
    _id: document._id,
    databaseName: document.databaseName ?? { $exists: false },
    mongodbUrl: document.mongodbUrl ?? { $exists: false },
  };
  const { modifiedCount } = await bounded(
    (await subaccountDocuments()).updateOne(asRead, {
      $set: { ...located.$set, databaseName },
      $unset: { ...located.$unset, chatPause: "", chatMove: "" },
    }),
  );
  if (modifiedCount === 0) throw new Error("Somebody else has changed the subaccount's address meanwhile");
  await forgetOrSay(id);
}

async function undo(id: string, document: SubaccountDocument, from: Db, isDryRun: boolean): Promise<void> {
  const isPaused = document.chatPause?.isOfMove === true;
  const isFenced = (await fencedIn(from)).includes(id);
  const what = [
    isFenced ? "writes are taken again" : "",
    isPaused ? "the pause ends" : "",
    !isPaused && document.chatMove ? "the announced move is called off" : "",
  ]
    .filter(Boolean)
    .join(", ");
  if (isDryRun) return console.log(`${id}: ${what || "nothing to take back"}`);
  await unfence(from, id);
  if (isPaused || document.chatMove)
    await changeSubaccount(id, { $unset: { ...(isPaused ? { chatPause: "" } : {}), chatMove: "" } });
  console.log(`${id}: ${what || "nothing to take back"}`);
}

const say = (what: string, { documents, written, deleted }: Pass) =>
  console.log(`${what}: ${documents} documents, ${written} written, ${deleted} deleted`);
