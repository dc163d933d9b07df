/** What we use of the driver, so that a bundle leaves the rest of it out. Loaded by `driver()` of mongo.ts alone. */
export { MongoClient, ObjectId, ReadConcern } from "mongodb";
