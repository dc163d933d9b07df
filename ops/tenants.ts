import type { Document } from "mongodb";
import { type Subaccount as Location, subaccountFields, subaccountOf } from "../lib/access/subaccount.ts";
import { openTenant, type TenantContext } from "../lib/access/tenant.ts";
import { RequestLog } from "../lib/platform/logger.ts";
import { central } from "../lib/platform/mongo.ts";

/** A subaccount, and where its data is. */
export interface Subaccount {
  id: string;
  location: Location;
}

/** Every subaccount that is active, or the one with this id, active or not. */
export async function subaccountsOf(id?: string): Promise<Subaccount[]> {
  return (await allSubaccounts()).filter(({ id: own, location }) =>
    id === undefined ? location.isActive : own === id,
  );
}

/** Every subaccount, active or not. */
export async function allSubaccounts(): Promise<Subaccount[]> {
  const subaccounts = (await central()).collection("subaccounts");
  return (await subaccounts.find({}, { projection: subaccountFields }).toArray()).map(placeOf);
}

/** What a subaccount's document says of it. */
export const placeOf = (document: Document): Subaccount => ({
  id: String(document._id),
  location: subaccountOf(document),
});

/** What a command gives to functions that log for a request. */
export function commandContext(
  operation: "backfill" | "doctor" | "indexes" | "sweep" | "subaccount",
): Pick<TenantContext, "log" | "trailing"> {
  const log = new RequestLog({ operationId: crypto.randomUUID(), requestId: undefined, operation });
  return { log, trailing: [] };
}

/** Opens a subaccount's database for as long as `work` runs. */
export async function withTenant<T>(
  { id, location }: Subaccount,
  operation: Parameters<typeof commandContext>[0],
  work: (tenant: TenantContext) => Promise<T>,
): Promise<T> {
  const tenant = await openTenant(id, location, commandContext(operation));
  try {
    return await work(tenant);
  } finally {
    tenant.release();
  }
}

/** Applies `work` to all items, so many at a time. Results are in the order of the items. */
export async function mapAtMost<T, R>(
  atMost: number,
  items: readonly T[],
  work: (item: T) => Promise<R>,
): Promise<R[]> {
  const results: R[] = [];
  let next = 0;
  const worker = async () => {
    while (next < items.length) {
      const index = next++;
      results[index] = await work(items[index] as T);
    }
  };
  await Promise.all(Array.from({ length: Math.min(atMost, items.length) }, worker));
  return results;
}
