import type { ComponentChildren } from "preact";
import { useState } from "preact/hooks";
import { filterLabels, filtersIn, withChange } from "../filters.ts";
import { go, type Place } from "../router.ts";

type At = Pick<Place, "query"> & { page: string };

/** The filters that are set, each with a button that removes it. */
export function Chips({ query, page }: At) {
  const filters = filtersIn(query);
  if (filters.length === 0) return null;
  return (
    <ul class="row" aria-label="Filters">
      {filters.map(([name, text]) => (
        <li key={name} class="chip">
          <span>
            {filterLabels[name] ?? name}: <strong>{text.replaceAll(",", ", ")}</strong>
          </span>
          <a
            class="remove"
            href={page + withChange(query, { [name]: "" })}
            aria-label={`Remove the filter ${filterLabels[name] ?? name}`}
          >
            ×
          </a>
        </li>
      ))}
    </ul>
  );
}

const choices: Record<string, string[]> = {
  status: ["ongoing", "ended", "error"],
  sentiment: ["positive", "neutral", "negative", "unknown"],
};

/** A form for the filters. They go into the address, where the back button finds them. */
export function FilterEditor({ query, page }: At) {
  const [isOpen, setIsOpen] = useState(false);
  const submit = (event: SubmitEvent) => {
    event.preventDefault();
    const given = new FormData(event.currentTarget as HTMLFormElement);
    go(page + withChange(query, Object.fromEntries([...given].map(([name, value]) => [name, String(value)]))));
    setIsOpen(false);
  };
  const text = (name: string, props: { type: "text" } | { type: "date" }) => (
    <Field key={name} name={name}>
      <input id={`filter-${name}`} name={name} {...props} defaultValue={query.get(name) ?? ""} />
    </Field>
  );
  /** A link may have a time of the day, which the field for a day does not show. */
  const time = (name: string) => text(name, { type: isDay(query.get(name) ?? "") ? "date" : "text" });
  const choice = (name: string) => {
    const now = query.get(name) ?? "";
    const all = new Set(["", ...(choices[name] ?? []), now]);
    return (
      <Field name={name}>
        <select id={`filter-${name}`} name={name}>
          {[...all].map((value) => (
            <option key={value} value={value} selected={value === now}>
              {value || "Any"}
            </option>
          ))}
        </select>
      </Field>
    );
  };
  return (
    <div class="stack">
      <div class="row">
        <button type="button" aria-expanded={isOpen} onClick={() => setIsOpen(!isOpen)}>
          Filter
        </button>
        <Chips query={query} page={page} />
      </div>
      {isOpen && (
        <form key={query.toString()} class="card filters" onSubmit={submit}>
          {choice("status")}
          {choice("sentiment")}
          {text("agent_id", { type: "text" })}
          {text("end_user_id", { type: "text" })}
          {time("started_after")}
          {time("started_before")}
          <button type="submit" class="primary">
            Apply
          </button>
        </form>
      )}
    </div>
  );
}

const isDay = (text: string) => /^(\d{4}-\d\d-\d\d)?$/.test(text);

function Field({ name, children }: { name: string; children: ComponentChildren }) {
  return (
    <div class="field">
      <label for={`filter-${name}`}>{filterLabels[name]}</label>
      {children}
    </div>
  );
}
