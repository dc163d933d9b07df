/**
 * What to do about an error of MongoDB, by its codes and names.
 *
 * @param setting What holds the connection string.
 */
export function fixFor(error: unknown, setting: string): string {
  const { names, codes, dependency } = chainOf(error);
  const has = (...some: unknown[]) => some.some((code) => codes.has(code));
  if (dependency)
    return `${setting}: its compressors or its authMechanism need ${dependency}, which is not part of this API`;
  if (has(18, 11)) return `${setting}: user and password, and authSource; a password must be percent-encoded`;
  if (has(8000))
    return `${setting}: Atlas refuses it: user and password, or the cluster is paused or at a limit of its plan`;
  if (has(73)) return `${setting}, or the subaccount's databaseName: no database may have this name`;
  if (has(334)) return `${setting}: the server does not support its authMechanism`;
  if (has(13, 31)) return `${setting}: its user may not read and write this database: give it the role readWrite`;
  if (has(148)) return "enableMajorityReadConcern: false is set on its servers: remove it";
  if (names.has("MongoWriteConcernError"))
    return "too few members that hold data are running: until a majority has copied a write, every send is refused";
  if (names.has("MongoParseError") || names.has("MongoInvalidArgumentError"))
    return `${setting}: not a valid connection string or databaseName: check its options, and percent-encode user and password`;
  if (names.has("MongoCompatibilityError"))
    return `${setting}: the server is too old, or loadBalanced or directConnection do not fit it`;
  if (has("ENOTFOUND", "ENODATA", "ESERVFAIL")) return `${setting}: there is no such host`;
  if (has("ENOENT", "EACCES")) return `${setting}: it names a file that is not here (tlsCAFile, tlsCertificateKeyFile)`;
  return `${setting}: is the address right (replicaSet and tls, too), is this machine on its access list, is the server running?`;
}

/** The names and codes of an error and its causes, and the package that is missing, if one is. */
function chainOf(error: unknown) {
  const [names, codes] = [new Set<string>(), new Set<unknown>()];
  let dependency: string | undefined;
  for (let one = error; one instanceof Error; one = one.cause) {
    names.add(one.name);
    if ("code" in one) codes.add(one.code);
    if ("dependencyName" in one) dependency ??= String(one.dependencyName);
  }
  return { names, codes, dependency };
}
