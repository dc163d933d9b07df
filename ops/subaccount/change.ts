import type { UpdateFilter } from "mongodb";
import { forgetSubaccount } from "../../lib/access/membership.ts";
import { config } from "../../lib/platform/config.ts";
import { bounded, central, driver } from "../../lib/platform/mongo.ts";

/** The fields of a subaccount's document that commands change. */
export interface SubaccountDocument {
  name?: string;
  isActive?: boolean;
  databaseName?: string;
  mongodbUrl?: string;
  encryptionIV?: string;
  encryptionAuthTag?: string;
  /** Absent: it is not paused. An object of the old server's would count as a pause of everything. */
  chatPause?: {
    at: Date;
    /** Whether requests are refused, too. */
    requests: boolean;
    /** Set by `pause --all`, and lifted by `resume --all`. */
    isOfAll?: true;
    /** Set by a move, which ends it. */
    isOfMove?: true;
  };
  /** A move is under way, since then. */
  chatMove?: { at: Date };
}

/** The collection of subaccounts, as commands change it. */
export async function subaccountDocuments() {
  return (await central()).collection<SubaccountDocument>("subaccounts");
}

/** @throws When there is no such subaccount. */
export async function subaccountDocument(id: string) {
  const { ObjectId } = await driver();
  const found = await bounded((await subaccountDocuments()).findOne({ _id: new ObjectId(id) }));
  if (!found) throw new Error(`There is no subaccount ${id}`);
  return found;
}

/** Changes a subaccount, and makes every instance read it again at its next request. Returns what `forgetOrSay` returns. */
export async function changeSubaccount(id: string, update: UpdateFilter<SubaccountDocument>): Promise<boolean> {
  const { ObjectId } = await driver();
  await bounded((await subaccountDocuments()).updateOne({ _id: new ObjectId(id) }, update));
  return await forgetOrSay(id);
}

/**
 * Instances check an epoch in Redis. Where that cannot be changed, they learn of the change by the age of their copy.
 *
 * @returns Whether Redis has the new epoch.
 */
export async function forgetOrSay(id: string): Promise<boolean> {
  try {
    await forgetSubaccount(id);
    return true;
  } catch {
    console.error(`${id}: Redis did not answer: the change takes effect within ${config().PERMISSION_CACHE_SECONDS} s`);
    return false;
  }
}
