import { type Client, createClient, type RequestEvent } from "@scalai/chat";
import { createContext } from "preact";
import { useContext } from "preact/hooks";
import type { Config } from "./config.ts";
import { claimsOf, type Session } from "./session.ts";
import { type Store, storeOf } from "./store.ts";

/** One attempt of a request, as the page shows it. */
export interface LoggedRequest extends RequestEvent {
  /** Counts up. */
  id: number;
  /** When its answer came, epoch ms. */
  at: number;
  /** JSON. */
  body?: string;
}

export interface Api {
  client: Client;
  /** The latest requests, newest first. */
  requests: Store<LoggedRequest[]>;
  config: Config;
  session: Session;
}

const KEPT = 100;

/** The API for one session. */
export function connect(config: Config, session: Session): Api {
  const requests = storeOf<LoggedRequest[]>([]);
  /** By operationId; the client tells of requests without their content. */
  const bodies = new Map<string, string>();
  let count = 0;
  const client = createClient({
    baseUrl: config.apiUrl,
    subaccountId: session.subaccountId,
    token: session.token,
    storage: sessionStorage,
    storagePrefix: `outbox/${ownerOf(session.token)}`,
    fetch(url, init) {
      if (init.body !== undefined) bodies.set(init.headers["x-operation-id"] ?? "", init.body);
      return fetch(url, init);
    },
    onRequest(event) {
      const body = bodies.get(event.operationId);
      bodies.delete(event.operationId);
      const logged = { ...event, id: ++count, at: Date.now(), ...(body === undefined ? {} : { body }) };
      requests.set((before) => [logged, ...before].slice(0, KEPT));
    },
  });
  return { client, requests, config, session };
}

/** Whose token it is: what one person left unanswered must not be sent in the name of the next, in the same tab. */
function ownerOf(token: string): string {
  const { iss, id, sub } = claimsOf(token);
  return JSON.stringify([iss, id ?? sub]);
}

const ApiContext = createContext<Api | undefined>(undefined);
export const ApiProvider = ApiContext.Provider;

export function useApi(): Api {
  const api = useContext(ApiContext);
  if (!api) throw new Error("useApi needs an ApiProvider");
  return api;
}

/** The request as a curl command. It names the variable TOKEN instead of the token, so that it can be shared. */
export function curlOf({ method, url, body, idempotencyKey }: LoggedRequest): string {
  const parts = [`curl ${method === "GET" ? "" : `-X ${method} `}${quoted(url)}`, `-H "authorization: Bearer $TOKEN"`];
  if (idempotencyKey !== undefined) parts.push(`-H ${quoted(`idempotency-key: ${idempotencyKey}`)}`);
  if (body !== undefined) parts.push("-H 'content-type: application/json'", `-d ${quoted(body)}`);
  return parts.join(" ");
}

const quoted = (text: string) => `'${text.replaceAll("'", "'\\''")}'`;
