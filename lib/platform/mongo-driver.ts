/** What we use of the driver, so that a bundle leaves the rest of it out. Loaded by `driver()` of mongo.ts alone. */
export { Decimal128, Long, MaxKey, MongoClient, ObjectId, ReadConcern } from "mongodb";
