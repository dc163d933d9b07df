import type { Analytics, AnalyticsMeta, AnalyticsQuery, Answered, ChatError } from "@scalai/chat";
import { useEffect, useState } from "preact/hooks";
import { useApi } from "../api.ts";
import { filterLabels, withChange } from "../filters.ts";
import { Bones } from "../parts/bones.tsx";
import { ErrorNotice } from "../parts/notice.tsx";
import { go, type Place } from "../router.ts";
import { dateOnly, duration, timezone } from "../time.ts";
import { errorOf } from "../use-conversation.ts";

const intervals = { day: "Day", week: "Week", month: "Month", hour_of_day: "Hour of the day" };
const groups = { "": "No groups", agent_id: "Agent", status: "Status", sentiment: "Sentiment" };
type Interval = keyof typeof intervals;
type Group = Exclude<keyof typeof groups, "">;

/** Sums over the chats of the last 30 days, as tables. What is asked for stands in the address. */
export function AnalyticsPage({ query }: Pick<Place, "query">) {
  const { client } = useApi();
  const [answer, setAnswer] = useState<Answered<Analytics, AnalyticsMeta>>();
  const [error, setError] = useState<ChatError>();
  const [round, setRound] = useState(0);
  const interval = (query.get("interval") ?? "day") as Interval; // the API says so if it is not
  const group = query.get("group_by") as Group | null;

  useEffect(() => {
    const stop = new AbortController();
    const asked: AnalyticsQuery = { interval, timezone, ...(group && { group_by: group }) };
    setAnswer(undefined);
    setError(undefined);
    client.analytics(asked, { signal: stop.signal }).then(setAnswer, (failure) => {
      if (!stop.signal.aborted) setError(errorOf(failure));
    });
    return () => stop.abort();
  }, [client, interval, group, round]);

  const change = (changes: Record<string, string>) => go(`#/analytics${withChange(query, changes)}`);
  return (
    <div class="page">
      <div class="page-head">
        <h1 tabIndex={-1}>Analytics</h1>
        <div class="row">
          <Choice label="Interval" all={intervals} value={interval} onChange={(value) => change({ interval: value })} />
          <Choice label="Groups" all={groups} value={group ?? ""} onChange={(value) => change({ group_by: value })} />
        </div>
      </div>
      <div class="stack">
        {error && <ErrorNotice error={error} onRetry={() => setRound(round + 1)} />}
        {!answer && !error && <Bones />}
        {answer && <Sums answer={answer} interval={interval} group={group} />}
      </div>
    </div>
  );
}

interface ChoiceProps {
  label: string;
  all: Record<string, string>;
  value: string;
  onChange: (value: string) => void;
}

function Choice({ label, all, value, onChange }: ChoiceProps) {
  return (
    <select
      class="export"
      aria-label={label}
      value={value}
      onChange={({ currentTarget }) => onChange(currentTarget.value)}
    >
      {Object.entries(all).map(([name, text]) => (
        <option key={name} value={name}>
          {text}
        </option>
      ))}
    </select>
  );
}

interface SumsProps {
  answer: Answered<Analytics, AnalyticsMeta>;
  interval: Interval;
  group: Group | null;
}

function Sums({ answer: { totals, series, meta }, interval, group }: SumsProps) {
  const rows = series.filter(({ chats }) => chats > 0);
  const nameOf = (start: number) => (interval === "hour_of_day" ? `${start}:00` : dateOnly(start));
  return (
    <>
      <p class="muted small">
        From {dateOnly(meta.from)} to {dateOnly(meta.to)}, {meta.timezone}. Times without chats are left out.
        {meta.approximate && " The percentiles are approximate."}
      </p>
      {/* biome-ignore lint/a11y/noNoninteractiveTabindex: it scrolls, so the keyboard must reach it */}
      <section class="wide" aria-label="Sums" tabIndex={0}>
        <table class="sums">
          <thead>
            <tr>
              <th scope="col">{intervals[interval] ?? interval}</th>
              {group && <th scope="col">{filterLabels[group] ?? group}</th>}
              {Object.keys(columns).map((name) => (
                <th key={name} scope="col">
                  {name}
                </th>
              ))}
            </tr>
          </thead>
          <tbody>
            <tr>
              <th scope="row">In all</th>
              {group && <td>–</td>}
              <Cells sums={totals} />
            </tr>
            {rows.map((row) => (
              <tr key={`${row.start} ${row.group}`}>
                <th scope="row">{nameOf(row.start)}</th>
                {group && <td>{row.group ?? "Others"}</td>}
                <Cells sums={row} />
              </tr>
            ))}
          </tbody>
        </table>
      </section>
    </>
  );
}

const time = (ms: number | null) => (ms === null ? "–" : duration(ms));

const columns: Record<string, (sums: Analytics["totals"]) => string> = {
  Chats: ({ chats }) => chats.toLocaleString(),
  Ended: ({ ended }) => ended.toLocaleString(),
  Errors: ({ errors }) => errors.toLocaleString(),
  Messages: ({ messages }) => messages.toLocaleString(),
  Duration: ({ duration_ms }) => time(duration_ms.avg),
  "Duration, 95 %": ({ duration_ms }) => time(duration_ms.p95),
  Reply: ({ reply_ms }) => (reply_ms.avg === null ? "–" : `${(reply_ms.avg / 1000).toFixed(1)} s`),
  Successful: ({ successful }) => successful.yes.toLocaleString(),
  Positive: ({ sentiment }) => sentiment.positive.toLocaleString(),
  Negative: ({ sentiment }) => sentiment.negative.toLocaleString(),
  Cost: ({ cost_cents }) => `$${(cost_cents / 100).toFixed(2)}`,
};

function Cells({ sums }: { sums: Analytics["totals"] }) {
  return (
    <>
      {Object.entries(columns).map(([name, textOf]) => (
        <td key={name}>{textOf(sums)}</td>
      ))}
    </>
  );
}
