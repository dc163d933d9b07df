/** The parts of the driver that we use, so that a bundle leaves out the rest. Loaded only by `driver()` of mongo.ts. */
export { Decimal128, Long, MaxKey, MongoClient, ObjectId, ReadConcern } from "mongodb";
