import { runIn, type TenantContext } from "../../access/tenant.ts";
import { matchOf } from "../find/match.ts";
import * as chats from "../store/chats.ts";
import { scan } from "../store/scan.ts";
import { rebuild } from "./mongo-index.ts";
import type { Segment } from "./segment.ts";

/** What a rebuild has done. */
export interface Rebuilt {
  chats: number;
  /** Segments of chats that are not there any more. They were removed. */
  removed: number;
}

/** Segments whose chats are looked up at a time. */
const atATime = 1_000;

/**
 * Indexes all chats of a subaccount anew for the search, and removes what is indexed of chats that are gone. Requests may
 * go on meanwhile. It may be interrupted and repeated.
 *
 * @param progress Called now and then, with what is done so far.
 * @throws CONNECTION_FAILED when the tenant's database does not answer in time
 */
export async function rebuildAll(tenant: TenantContext, progress: (done: Rebuilt) => void): Promise<Rebuilt> {
  const done: Rebuilt = { chats: 0, removed: 0 };
  const everything = { ...matchOf(tenant, {}), before: Number.MAX_SAFE_INTEGER };
  for await (const some of scan(tenant, everything, undefined)) {
    await rebuild(tenant, some);
    done.chats += some.length;
    progress(done);
  }
  let after = `${tenant.subaccountId}/`;
  for (;;) {
    const segments = await segmentsAfter(tenant, after);
    const last = segments.at(-1);
    if (!last) return done;
    after = last._id;
    const ids = [...new Set(segments.map(({ chat_id }) => chat_id))];
    const there = await chats.existing(tenant, ids);
    const gone = segments.filter(({ chat_id }) => !there.has(chat_id)).map(({ _id }) => _id);
    if (gone.length > 0) await inWords(tenant, (words) => words.deleteMany({ _id: { $in: gone } }));
    done.removed += gone.length;
    progress(done);
  }
}

/** A subaccount's segments in the order of their ids. 0 follows / in the alphabet. */
const segmentsAfter = (tenant: TenantContext, after: string) =>
  inWords(tenant, (words) =>
    words
      .find({ _id: { $gt: after, $lt: `${tenant.subaccountId}0` } })
      .sort({ _id: 1 })
      .limit(atATime)
      .project<Pick<Segment, "_id" | "chat_id">>({ chat_id: 1 })
      .toArray(),
  );

const inWords = <T>(tenant: TenantContext, operation: Parameters<typeof runIn<Segment, T>>[2]) =>
  runIn<Segment, T>(tenant, "chatwords", operation);
