import { isDeepStrictEqual } from "node:util";
import type { TenantContext } from "../access/tenant.ts";
import { matchOf } from "./find/match.ts";
import type { ChatSnapshot } from "./model.ts";
import { rebuild } from "./search/mongo-index.ts";
import { statsUpdate } from "./stats.ts";
import { type Derived, storeDerived } from "./store/derived.ts";
import { scan } from "./store/scan.ts";
import { tagsOf } from "./tags.ts";
import { plainObject } from "./view.ts";

/** What a backfill has written, or would write: how many chats it has read, and how many lacked each part. */
export interface Backfilled {
  chats: number;
  stats: number;
  tags: number;
  words: number;
  /** Chats that were changed while they were read. Whoever changed them, or the sweep, writes their parts. */
  changed: number;
}

/**
 * Gives the chats of a subaccount what is derived of them and missing or outdated: stats, tags, and words for the search.
 * Requests may go on meanwhile: what is written is derived of a reading, and is written only while that is current. It
 * may be interrupted and repeated; a repeat reads all chats, and writes only what is still missing.
 *
 * @param progress Called after each batch, with what is done so far.
 * @throws CONNECTION_FAILED when the tenant's database does not answer in time
 */
export async function backfill(
  tenant: TenantContext,
  isDryRun: boolean,
  progress: (done: Backfilled) => void,
): Promise<Backfilled> {
  const done: Backfilled = { chats: 0, stats: 0, tags: 0, words: 0, changed: 0 };
  for await (const some of scan(tenant, { ...matchOf(tenant, {}), before: Number.MAX_SAFE_INTEGER }, undefined)) {
    const lacksWords = some.filter(({ internal }) => internal?.wordsRevision === undefined || isOutdated(internal));
    if (!isDryRun) await rebuild(tenant, lacksWords);
    const writes = some.flatMap((chat) => {
      const missing = { ...missingOf(chat), ...(lacksWords.includes(chat) ? wordsNote(chat) : {}) };
      if (missing["internal.stats"]) done.stats += 1;
      if (missing["internal.tags"]) done.tags += 1;
      return Object.keys(missing).length > 0 ? [{ seen: chat, missing }] : [];
    });
    if (!isDryRun) done.changed += writes.length - (await storeDerived(tenant, writes));
    done.chats += some.length;
    done.words += lacksWords.length;
    progress(done);
  }
  return done;
}

const isOutdated = ({ revision, wordsRevision }: NonNullable<ChatSnapshot["internal"]>) => revision !== wordsRevision;

/** A chat that is not imported has no revision, and is indexed by each backfill. */
const wordsNote = ({ internal }: ChatSnapshot): Derived =>
  internal?.revision === undefined ? {} : { "internal.wordsRevision": internal.revision };

function missingOf(chat: ChatSnapshot): Derived {
  const { metadata, end_user_id, internal } = chat;
  const stats = statsUpdate(chat);
  const user = typeof end_user_id === "string" ? { end_user_id } : {};
  const tags = tagsOf({ metadata: plainObject(metadata) ?? {}, ...user });
  return {
    ...(isDeepStrictEqual(stats["internal.stats"], internal?.stats) ? {} : stats),
    ...(isDeepStrictEqual(tags, internal?.tags ?? []) ? {} : { "internal.tags": tags }),
  };
}
