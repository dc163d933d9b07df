/** Keeps a promise in a map until it is settled, unless another one has taken its place by then. */
export function keepUntilSettled<Result>(
  map: Map<string, Promise<Result>>,
  key: string,
  promise: Promise<Result>,
): void {
  map.set(key, promise);
  const remove = () => {
    if (map.get(key) === promise) map.delete(key);
  };
  promise.then(remove, remove);
}
