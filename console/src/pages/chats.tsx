import type { ListedChat, ListFilter, Total } from "@scalai/chat";
import { useCallback, useEffect, useRef, useState } from "preact/hooks";
import { useApi } from "../api.ts";
import { filterOf, filtersIn, withChange } from "../filters.ts";
import { Bones } from "../parts/bones.tsx";
import { FilterEditor } from "../parts/filters.tsx";
import { ErrorNotice, WaitingNotice } from "../parts/notice.tsx";
import { ChatStatusBadge } from "../parts/status.tsx";
import { chatHref, go, type Place } from "../router.ts";
import { dateTime, duration } from "../time.ts";
import { usePages } from "../use-pages.ts";
import { Found } from "./found.tsx";

const PAGE = 50;
const here = "#/chats";

/** The subaccount's chats: all, those that filters leave, or those in which some words were said. */
export function Chats({ query }: Pick<Place, "query">) {
  const [round, setRound] = useState(0);
  const q = query.get("q")?.trim() ?? "";
  const isOldestFirst = query.get("sort") === "start_timestamp";
  const key = `${round} ${query}`;
  return (
    <div class="page">
      <div class="page-head">
        <h1 tabIndex={-1}>Chats</h1>
        <div class="row">
          {!q && (
            <a class="button" href={here + withChange(query, { sort: isOldestFirst ? "" : "start_timestamp" })}>
              Order: {isOldestFirst ? "oldest first" : "newest first"}
            </a>
          )}
          {!q && (
            <a class="button" href={`#/exports${withChange(query, { sort: "" })}`}>
              Export
            </a>
          )}
          <button type="button" onClick={() => setRound(round + 1)}>
            Refresh
          </button>
        </div>
      </div>
      <div class="stack">
        <SearchBox key={q} query={query} />
        <FilterEditor query={query} page={here} />
        {q ? <Found key={key} q={q} query={query} /> : <List key={key} query={query} />}
      </div>
    </div>
  );
}

function SearchBox({ query }: Pick<Place, "query">) {
  const submit = (event: SubmitEvent) => {
    event.preventDefault();
    const given = new FormData(event.currentTarget as HTMLFormElement);
    go(here + withChange(query, { q: String(given.get("q") ?? "") }));
  };
  return (
    // biome-ignore lint/a11y/useSemanticElements: browsers know the element search only since lately
    <form class="search" role="search" onSubmit={submit}>
      <label class="sr-only" for="q">
        Search in what was said
      </label>
      <input
        id="q"
        name="q"
        type="search"
        maxLength={200}
        placeholder="Search in what was said"
        defaultValue={query.get("q") ?? ""}
      />
      <button type="submit">Search</button>
    </form>
  );
}

/** The next page is read at the end of the list. */
function List({ query }: Pick<Place, "query">) {
  const { client } = useApi();
  const read = useCallback(
    (more: { cursor?: string }, signal: AbortSignal) => {
      const sort = query.get("sort") as ListFilter["sort"]; // the API says so if it is not
      const filter = { ...filterOf(query), ...(sort && { sort }), limit: PAGE };
      const whole = more.cursor === undefined ? { include: "total" as const } : more;
      return client.chats.list({ ...filter, ...whole }, { signal }).page();
    },
    [client, query.toString()],
  );
  const { pages, error, waiting, more, hasNext } = usePages("list", read);
  const chats = pages.flatMap((page) => page.chats);
  const isEmpty = pages.length > 0 && chats.length === 0 && !hasNext;
  return (
    <>
      {error ? (
        <ErrorNotice error={error} onRetry={() => void more()} />
      ) : (
        waiting && <WaitingNotice request={waiting} />
      )}
      {isEmpty && <NoChats isFiltered={filtersIn(query).length > 0} />}
      {chats.length > 0 && <TotalLine total={pages[0]?.meta.total} />}
      {chats.length > 0 && <Table chats={chats} />}
      {pages.length === 0 && !error && <Bones />}
      {pages.length > 0 && hasNext && !error && <More onReached={more} />}
      {chats.length > 0 && !hasNext && (
        <p class="muted small">{chats.length === 1 ? "1 chat" : `${chats.length} chats`}, all of them.</p>
      )}
    </>
  );
}

/** The API counts to a limit. */
function TotalLine({ total }: { total: Total | undefined }) {
  if (!total) return null;
  const count = total.value.toLocaleString();
  const text = total.relation === "gte" ? `At least ${count} chats` : total.value === 1 ? "1 chat" : `${count} chats`;
  return (
    <p class="muted small total" role="status">
      {text}
    </p>
  );
}

function NoChats({ isFiltered }: { isFiltered: boolean }) {
  return (
    <div class="card empty">
      <strong>{isFiltered ? "No chat is like this" : "No chats yet"}</strong>
      {isFiltered ? <a href={here}>Show all chats</a> : <a href="#/">Talk to an agent</a>}
    </div>
  );
}

function Table({ chats }: { chats: ListedChat[] }) {
  return (
    <table class="chats">
      <thead>
        <tr>
          <th scope="col">Chat</th>
          <th scope="col">Status</th>
          <th scope="col">Agent</th>
          <th scope="col">Started</th>
          <th scope="col" class="number">
            Duration
          </th>
          <th scope="col" class="number">
            Messages
          </th>
        </tr>
      </thead>
      <tbody>
        {chats.map((chat) => (
          <tr key={chat.chat_id}>
            <td class="mono">{chat.chat_id ? <a href={chatHref(chat.chat_id)}>{chat.chat_id}</a> : "–"}</td>
            <td>
              <ChatStatusBadge status={chat.chat_status} />
            </td>
            <td class="agent">{chat.agent_id ?? "–"}</td>
            <td class="started">{dateTime(chat.start_timestamp)}</td>
            <td class="number length">{lengthOf(chat)}</td>
            <td class="number count">{chat.message_count ?? "–"}</td>
          </tr>
        ))}
      </tbody>
    </table>
  );
}

const lengthOf = ({ start_timestamp: start, end_timestamp: end }: ListedChat) =>
  start !== null && end !== null ? duration(end - start) : "–";

/** Reads on when it comes into view; a button, for those who do not scroll. */
function More({ onReached }: { onReached: () => Promise<void> }) {
  const button = useRef<HTMLButtonElement>(null);
  useEffect(() => {
    const watch = new IntersectionObserver(([entry]) => entry?.isIntersecting && void onReached(), {
      rootMargin: "300px",
    });
    if (button.current) watch.observe(button.current);
    return () => watch.disconnect();
  }, [onReached]);
  return (
    <div class="row center">
      <button type="button" ref={button} onClick={() => void onReached()}>
        More chats
      </button>
    </div>
  );
}
