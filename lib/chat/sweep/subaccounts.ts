import type { ObjectId } from "mongodb";
import { subaccountFields, subaccountOf } from "../../access/subaccount.ts";
import type { openTenant } from "../../access/tenant.ts";
import type { TenantCause } from "../../platform/errors.ts";
import { bounded, central, driver } from "../../platform/mongo.ts";

/** A subaccount, and where its chats are. */
export interface Subaccount {
  id: string;
  location: Parameters<typeof openTenant>[1];
  /** An operator has paused it: nothing is read or written for it. */
  isPaused: boolean;
  /** It is active, and not under maintenance: it is meant to work. */
  isServed: boolean;
}

/** What the sweep notes for its next run. */
interface SweepNote {
  /** A work that goes through all subaccounts, or `orphans ` and a subaccount's id. */
  _id: string;
  /** When it last started. */
  at: Date;
  /** The subaccount that it last started with. */
  resumeAfter?: ObjectId;
  /** When the last search for orphans that was completed started. */
  done?: Date;
  /** Why the last search for orphans failed, where the cause is the tenant's own: it lasts until somebody repairs it. */
  failing?: TenantCause;
}

/** Subaccounts that are read at a time. */
const pageSize = 100;

export const sweepNotes = async () => (await central()).collection<SweepNote>("chatsweeps");

/**
 * Every subaccount once, starting after the one at which the last run stopped. So each is reached, however much work
 * those before it have. Ends when the time is over.
 */
export async function* subaccountsRoundRobin(work: string, until: number): AsyncGenerator<Subaccount> {
  const { ObjectId } = await driver();
  const notes = await sweepNotes();
  const note = (resumeAfter: ObjectId) =>
    bounded(notes.updateOne({ _id: work }, { $set: { resumeAfter }, $currentDate: { at: true } }, { upsert: true }));
  const start = (await bounded(notes.findOne({ _id: work })))?.resumeAfter ?? new ObjectId("0".repeat(24));
  let last: ObjectId | undefined;
  for (const range of [{ $gt: start }, { $lte: start }]) {
    let page = await pageOf(range);
    while (page.length > 0) {
      for (const { _id, ...document } of page) {
        if (Date.now() > until) {
          if (last) await note(last);
          return;
        }
        // Before the work: if this subaccount makes a run die, the next run does not start with it again.
        if (_id === page[0]?._id) await note(_id);
        last = _id;
        const location = subaccountOf(document);
        const isServed = location.isActive && !location.maintenanceMode;
        yield { id: String(_id), location, isPaused: location.paused !== undefined, isServed };
      }
      page = page.length < pageSize || !last ? [] : await pageOf({ ...range, $gt: last });
    }
  }
}

async function pageOf(range: { $gt?: ObjectId; $lte?: ObjectId }) {
  const subaccounts = (await central()).collection<{ _id: ObjectId }>("subaccounts");
  return bounded(
    subaccounts.find({ _id: range }, { projection: subaccountFields }).sort({ _id: 1 }).limit(pageSize).toArray(),
  );
}
