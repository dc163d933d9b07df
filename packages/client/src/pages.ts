import { errorOf } from "./errors.ts";
import { filterTexts, queryOf } from "./query.ts";
import type { Transport } from "./transport.ts";
import type { ChatPage, FoundChat, ListedChat, ListFilter, SearchFilter, SearchPage, Total } from "./types.ts";
import { defaultTimeouts, type Limits } from "./wait.ts";

/** Chats, page by page. `for await` reads all pages, each when it is needed. */
interface Pages<Chat, Page> extends AsyncIterable<Chat> {
  /** The first page alone; for the next, ask with the filter's `cursor` set to `meta.nextCursor`. */
  page(): Promise<Page>;
}
export interface ChatList extends Pages<ListedChat, ChatPage> {
  /** How many chats there are on all pages. The API counts to 10,000. */
  total(): Promise<Total>;
}
export type FoundChats = Pages<FoundChat, SearchPage>;

export function listOf(transport: Transport, filter: ListFilter, limits: Limits): ChatList {
  const { cursor: _, ...all } = filter;
  const counting = pagesOf<ChatPage>(transport, { operation: "list" }, { ...all, limit: 1, include: "total" }, limits);
  const total = async () => (await counting.page()).meta.total as Total;
  return { ...pagesOf<ChatPage>(transport, { operation: "list" }, filter, limits), total };
}

export function searchOf(transport: Transport, q: string, filter: SearchFilter, limits: Limits): FoundChats {
  return pagesOf<SearchPage>(transport, { operation: "search", q }, filter, limits);
}

function pagesOf<Page extends ChatPage | SearchPage>(
  transport: Transport,
  { operation, q }: { operation: "list" | "search"; q?: string },
  filter: ListFilter | SearchFilter,
  { signal, timeoutMs = defaultTimeouts.readMs }: Limits,
): Pages<Page["chats"][number], Page> {
  const page = async (more: { cursor?: string; include?: undefined } = {}) => {
    const path = operation + queryOf({ q, ...filterTexts({ ...filter, ...more }) });
    const bounds = { signal, deadline: Date.now() + timeoutMs };
    const { data, meta } = await transport.request({ operation, method: "GET", path }, bounds);
    const { ignored = [] } = meta as { ignored?: string[] };
    if (ignored.length > 0) {
      const message = `The API has no filter ${ignored.join(", ")}`;
      throw errorOf({ code: "FILTER_IGNORED", message, operationId: meta.operationId });
    }
    return { chats: data, meta } as unknown as Page; // as the reference has them
  };
  return {
    page: () => page(),
    async *[Symbol.asyncIterator]() {
      for (let next = await page(); ; next = await page({ cursor: next.meta.nextCursor, include: undefined })) {
        yield* next.chats as Page["chats"][number][];
        // A page may be short or empty and have a next one: the API stops looking at a limit.
        if (!next.meta.hasMore || !next.meta.nextCursor) return;
      }
    },
  };
}
