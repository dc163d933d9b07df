/** The stage that is tested, and the caller. */
export interface Target {
  url: string;
  token: string;
  subaccountId: string;
  /** An agent of the subaccount; undefined: no chat is tested. */
  agentId: string | undefined;
  /** The origin of a web page that must be allowed to call, if one is known. */
  origin: string | undefined;
  /** Aborted when the time for all checks is over. */
  timeUp: AbortSignal;
}

// biome-ignore lint/suspicious/noExplicitAny: the body of an answer may be anything; the checks read fields of it
type Json = any;

/** An HTTP answer. `body` is undefined if it is not JSON. */
export interface Answer {
  status: number;
  headers: Headers;
  body: Json;
}

interface Asked {
  /** Replaces the target's token; null: no token. */
  token?: string | null;
  headers?: Record<string, string>;
  /** Sent as JSON, except a string, which is sent unchanged. */
  body?: unknown;
  /** Sends the request even after `timeUp`. */
  isLast?: boolean;
}

/** Longer than API Gateway waits. */
const timeoutMs = 35_000;

/** Sends requests to a stage. Every call rejects when no answer comes. */
export class Api {
  readonly subaccountId: string;
  readonly agentId: string | undefined;
  readonly origin: string | undefined;
  readonly timeUp: AbortSignal;
  /** The operationId of the last request, for its log line; undefined if there was no connection. */
  operationId: string | undefined;
  readonly #target: Target;

  constructor(target: Target) {
    this.#target = target;
    this.subaccountId = target.subaccountId;
    this.agentId = target.agentId;
    this.origin = target.origin;
    this.timeUp = target.timeUp;
  }

  async ask(method: string, path: string, { token, headers, body, isLast }: Asked = {}): Promise<Answer> {
    const bearer = token === undefined ? this.#target.token : token;
    this.operationId = headers?.["x-operation-id"] ?? crypto.randomUUID();
    const limit = AbortSignal.timeout(timeoutMs);
    const response = await fetch(this.#target.url.replace(/\/$/, "") + path, {
      method,
      headers: {
        ...(bearer === null ? {} : { authorization: `Bearer ${bearer}` }),
        ...(body === undefined ? {} : { "content-type": "application/json" }),
        "x-operation-id": this.operationId,
        ...headers,
      },
      ...(body === undefined ? {} : { body: typeof body === "string" ? body : JSON.stringify(body) }),
      signal: isLast ? limit : AbortSignal.any([limit, this.timeUp]),
    }).catch((error) => {
      if (error.cause) this.operationId = undefined; // no connection
      throw error;
    });
    const text = await response.text();
    return { status: response.status, headers: response.headers, body: parse(text) };
  }

  /** @param path Follows `/api/chats/{subaccountId}/`. */
  get(path: string, asked: Asked = {}): Promise<Answer> {
    return this.ask("GET", `/api/chats/${this.subaccountId}/${path}`, asked);
  }

  post(path: string, body?: unknown, asked: Asked = {}): Promise<Answer> {
    return this.ask("POST", `/api/chats/${this.subaccountId}/${path}`, { body, ...asked });
  }
}

function parse(text: string): Json {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
