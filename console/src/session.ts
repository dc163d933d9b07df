import type { Config } from "./config.ts";

/** Who uses the console. Kept for this tab only: closing it forgets the token. */
export interface Session {
  token: string;
  subaccountId: string;
  /** The demo user; absent for a token that was pasted or handed over. */
  user?: string;
}

const NAME = "session";

/**
 * The session to begin with. In this order: what the page's address hands over (`#token=…&subaccount=…`, which is
 * removed from it), what this tab has kept, and locally the demo's owner.
 */
export function firstSession({ local }: Config): Session | undefined {
  const handed = takeHandedOver();
  if (handed) return keep(handed);
  const kept = readKept();
  if (!local?.demo) return kept;
  // The demo's tokens expire after a day; each load brings new ones.
  if (!kept || kept.user) return keep(demoSession(local.demo, kept?.user));
  return kept;
}

/** The session of a demo user; without a name, or an unknown one, of the first. */
export function demoSession(
  { tokens, subaccountId }: NonNullable<NonNullable<Config["local"]>["demo"]>,
  name?: string,
) {
  const user = name !== undefined && name in tokens ? name : (Object.keys(tokens)[0] ?? "");
  return { token: tokens[user] ?? "", subaccountId, user } satisfies Session;
}

export function keep(session: Session): Session {
  sessionStorage.setItem(NAME, JSON.stringify(session));
  return session;
}

export function forget(): void {
  sessionStorage.removeItem(NAME);
}

function readKept(): Session | undefined {
  try {
    const { token, subaccountId, user } = JSON.parse(sessionStorage.getItem(NAME) ?? "");
    return { token: String(token), subaccountId: String(subaccountId), ...(user ? { user: String(user) } : {}) };
  } catch {
    return undefined;
  }
}

function takeHandedOver(): Session | undefined {
  const given = new URLSearchParams(location.hash.slice(1));
  const token = given.get("token");
  if (!token) return undefined;
  history.replaceState(null, "", location.pathname);
  return { token, subaccountId: given.get("subaccount") ?? readKept()?.subaccountId ?? "" };
}

/** The claims of a token, for display: the API alone decides whether it is valid. */
export function claimsOf(token: string): Record<string, unknown> {
  try {
    const payload = token.split(".")[1] ?? "";
    const bytes = Uint8Array.from(atob(payload.replaceAll("-", "+").replaceAll("_", "/")), (char) =>
      char.charCodeAt(0),
    );
    return Object(JSON.parse(new TextDecoder().decode(bytes)));
  } catch {
    return {};
  }
}
