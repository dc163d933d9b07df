import * as z from "zod";
import { bounded, central, driver } from "../platform/mongo.ts";

/** What is used of a subaccount. Its connection string stays encrypted. */
export const Subaccount = z.object({
  isActive: z.boolean(),
  maintenanceMode: z.boolean(),
  maintenanceMessage: z.string().optional(),
  /** Set by an operator (`npm run ops -- pause`). `background`: sweep and webhooks. `all`: requests, too. */
  paused: z.enum(["background", "all"]).optional(),
  /** Its data is about to be elsewhere (`npm run ops -- subaccount move`): no copy of this is used unless the epoch is read. */
  isMoving: z.literal(true).optional(),
  databaseName: z.string().optional(),
  mongodbUrl: z.object({ text: z.string(), iv: z.string().optional() }).optional(),
  /** The name of a field that locates the data and is not text. Such a subaccount has no database. */
  unreadable: z.string().optional(),
});
export type Subaccount = z.infer<typeof Subaccount>;

/** The fields of a subaccount's document that `subaccountOf` reads: a projection. */
export const subaccountFields = {
  isActive: 1,
  maintenanceMode: 1,
  maintenanceMessage: 1,
  chatPause: 1,
  chatMove: 1,
  databaseName: 1,
  mongodbUrl: 1,
  encryptionIV: 1,
};

/**
 * The fields of a subaccount's document that are used here. A flag of a wrong type counts as closed. A field of a wrong
 * type that locates the data is noted in `unreadable`: ignored, it would send the tenant to the central database.
 */
export function subaccountOf(document: Record<string, unknown>): Subaccount {
  const text = (value: unknown) => (typeof value === "string" && value !== "" ? value : undefined);
  const [databaseName, url, iv] = [document.databaseName, document.mongodbUrl, document.encryptionIV].map(text);
  const maintenanceMessage = text(document.maintenanceMessage);
  const pause = (document.chatPause ?? false) as { requests?: unknown } | false;
  const unreadable = ["databaseName", "mongodbUrl"].find((name) => typeof (document[name] ?? "") !== "string");
  return {
    isActive: document.isActive === true,
    maintenanceMode: (document.maintenanceMode ?? false) !== false,
    ...(maintenanceMessage ? { maintenanceMessage } : {}),
    ...(document.chatMove ? { isMoving: true as const } : {}),
    ...(pause ? { paused: pause.requests === false ? ("background" as const) : ("all" as const) } : {}),
    ...(databaseName ? { databaseName } : {}),
    ...(url ? { mongodbUrl: { text: url, ...(iv ? { iv } : {}) } } : {}),
    ...(unreadable ? { unreadable } : {}),
  };
}

/** A subaccount as it is stored now, with its connection string encrypted; null when there is none. */
export async function loadSubaccount(subaccountId: string): Promise<Subaccount | null> {
  const find = async () => {
    const { ObjectId } = await driver();
    return (await central())
      .collection("subaccounts")
      .findOne({ _id: new ObjectId(subaccountId) }, { projection: subaccountFields });
  };
  const found = await bounded(find());
  return found && subaccountOf(found);
}
