/** Whether an error is of the driver, the server or the network, and not about our request. */
export function isConnectionError(error: unknown): boolean {
  if (!(error instanceof Error)) return false;
  const { name, code, codeName } = error as { name: string; code?: unknown; codeName?: unknown };
  if (name === "MongoWriteConcernError" || isFenced(error)) return true;
  if (typeof code === "number")
    return !requestErrors.has(code) && !(code > 10_000 && /^Location/.test(String(codeName)));
  if (driverErrors.test(name)) return !misuseErrors.test(name);
  // The driver throws a socket's own error when it writes to one that the other side has just closed.
  return typeof code === "string" && /^E[A-Z0-9]+$/.test(code);
}

/**
 * Whether a write was refused because the subaccount moves to another database (ops/subaccount/fence.ts): the request
 * began before the move's pause.
 */
export function isFenced(error: unknown): boolean {
  const { code, errInfo } = (error ?? {}) as { code?: unknown; errInfo?: { details?: { specifiedAs?: object } } };
  const specifiedAs = errInfo?.details?.specifiedAs;
  return code === 121 && JSON.stringify(specifiedAs)?.startsWith('{"subaccountId":{"$nin":') === true;
}

/**
 * The server's errors about a request that is wrong or does not fit the stored data. Assertions without a name, which the
 * server calls `Location` and a number above 10,000, count as such, too. Lower numbers are Atlas's.
 *
 * InvalidNamespace (73) is not in the list: our collections have valid names, so the tenant's `databaseName` is wrong.
 *
 * @see github.com/mongodb/mongo, src/mongo/base/error_codes.yml
 */
const requestErrors = new Set([
  2, // BadValue
  9, // FailedToParse
  14, // TypeMismatch
  15, // Overflow
  16, // InvalidLength
  22, // InvalidBSON
  28, // PathNotViable
  ...[40, 52, 53, 54, 55, 56, 57], // ConflictingUpdateOperators, and invalid field names
  66, // ImmutableField
  ...[67, 85, 86, 197], // an index that cannot be created
  72, // InvalidOptions
  121, // DocumentValidationFailure
  ...[166, 167, 168], // not supported by a view or a pipeline
  241, // ConversionFailure
  10334, // BSONObjectTooLarge
  11000, // DuplicateKey
]);

/** PoolCleared: the operation was under way when the monitor lost the server. */
const driverErrors = /^(Mongo|PoolCleared)/;
/** Errors of the driver about wrong calls. Those about a connection string are thrown when it connects, by `connect`. */
const misuseErrors =
  /^Mongo(API|InvalidArgument|Transaction|BatchReExecution|CursorInUse|CursorExhausted|TailableCursor)Error$/;
