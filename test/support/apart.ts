/**
 * A central database of the file's own, for tests of what goes over all subaccounts. Imported before anything that
 * reads the configuration.
 */
const url = new URL(process.env.MONGODB_URL ?? "");
url.pathname = `/apart_${crypto.randomUUID().slice(0, 8)}`;
process.env.MONGODB_URL = url.toString();

export {};
