export type TokenSource = string | (() => string | Promise<string>);

export interface Tokens {
  /** The token to use now. */
  current(): Promise<string>;
  /** A token other than the one that was refused. Requests that wait at the same time share one refresh. */
  renew(refused: string): Promise<string>;
}

/**
 * @param token    The token, or a function that gives it: called before the first request and, without `onToken`, when
 *                 the API refuses the token.
 * @param onToken  Gives a new token when the API refuses the old one.
 */
export function tokensOf(token: TokenSource, onToken?: () => string | Promise<string>): Tokens {
  const first = typeof token === "string" ? () => token : token;
  const next = onToken ?? (typeof token === "string" ? undefined : token);
  let held: Promise<string> | undefined;

  /** A token that could not be had is asked for again by the next request. */
  const hold = (source: () => string | Promise<string>) => {
    const got = Promise.resolve().then(source);
    held = got;
    got.catch(() => {
      if (held === got) held = undefined;
    });
    return got;
  };
  const current = () => held ?? hold(first);
  let renewal: Promise<string> | undefined;
  return {
    current,
    async renew(refused) {
      if (renewal) return renewal;
      const now = await current();
      if (now !== refused || !next) return now; // another request has renewed it, or nobody can
      renewal ??= hold(next).finally(() => {
        renewal = undefined;
      });
      return renewal;
    },
  };
}
