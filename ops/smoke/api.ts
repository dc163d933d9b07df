/** The stage that is tried, and who tries it. */
export interface Target {
  url: string;
  token: string;
  subaccountId: string;
  /** Of the subaccount, to talk to. */
  agentId: string | undefined;
  /** Of a web page that must be allowed to call, if one is known. */
  origin: string | undefined;
  /** Aborted when the whole has taken as long as it may. */
  timeUp: AbortSignal;
}

// biome-ignore lint/suspicious/noExplicitAny: an answer is whatever came back; the checks look into it
type Json = any;

/** What came back. A body that is no JSON is undefined. */
export interface Answer {
  status: number;
  headers: Headers;
  body: Json;
}

interface Asked {
  /** In place of the target's; null: none. */
  token?: string | null;
  headers?: Record<string, string>;
  /** Text is sent as it is. */
  body?: unknown;
  /** Also once the time is up. */
  isLast?: boolean;
}

/** Longer than API Gateway waits. */
const timeoutMs = 35_000;

/** Asks a stage; every call rejects when nothing comes back. */
export class Api {
  readonly subaccountId: string;
  readonly agentId: string | undefined;
  readonly origin: string | undefined;
  readonly timeUp: AbortSignal;
  /** Of the last request, by which the log knows it; undefined when it reached nobody. */
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

  /** @param path Below the subaccount's. */
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
