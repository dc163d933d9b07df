import * as z from "zod";
import { Instant } from "../../platform/instant.ts";
import { Text } from "../../platform/text.ts";
import { halved, isStorable } from "../metadata.ts";
import { ChatStatus, Sentiment } from "../schema.ts";

/** How many values a filter has at most, separated by commas. */
const maxValues = 20;
const maxMetadataFilters = 3;
const maxMetadataUnits = 1_024;
/** Names that are ignored are told back, so many of them and so much of each. */
const maxIgnored = 20;
const maxIgnoredUnits = 64;

const metadataPrefix = "metadata.";

/** Values separated by commas. Empty ones are left out before. */
const list = <Value extends z.ZodType<string>>(value: Value) =>
  z
    .string()
    .transform((text) => [...new Set(text.split(","))])
    .refine((values) => values.length <= maxValues, `Must be ${maxValues} values at most, separated by commas`)
    // zod types what an enum takes as the enum. It takes any text, and refuses it.
    .pipe(z.array(value) as unknown as z.ZodType<z.output<Value>[], string[]>);

const wellFormed = (max: number) => Text(1, max).refine((text) => text.isWellFormed(), halved);

/** All dates that JavaScript has. */
const Time = Instant(-8.64e15, 8.64e15);

const anyCase = (text: unknown) => (typeof text === "string" ? text.toLowerCase() : text);

/** The filters with a name of their own, as query parameters. `metadata.<key>` are others: see `filterIn`. */
const filters = {
  status: list(ChatStatus).optional().meta({ description: "Any of these", example: "ended,error" }),
  agent_id: list(wellFormed(128)).optional().meta({ description: "Any of these agents" }),
  created_by: list(wellFormed(128)).optional().meta({ description: "Any of these users, who created the chat" }),
  end_user_id: list(wellFormed(128)).optional().meta({ description: "Any of these, as the chat was created with it" }),
  started_after: Time.optional().meta({
    description:
      "The earliest start, inclusive: epoch milliseconds, or ISO 8601 with Z or an offset, of the years 0000 to 9999",
    example: "2026-01-01T00:00:00+01:00",
  }),
  started_before: Time.optional().meta({ description: "The latest start, exclusive" }),
  sentiment: z
    .preprocess(anyCase, list(Sentiment))
    .optional()
    .meta({ description: "Of the user, as Retell's analysis has it, in any case. `unknown`: not analyzed" }),
  successful: z
    .preprocess(anyCase, list(z.enum(["true", "false"])))
    .optional()
    .meta({ description: "Whether the chat was successful, as Retell's analysis has it" }),
};

/** Which chats are asked for: all of these must hold, and of each list one value. */
export type ChatFilter = {
  -readonly [Name in keyof typeof filters]?: Exclude<z.output<(typeof filters)[Name]>, undefined>;
} & {
  /** Keys of metadata, with the texts of which the value must be one. */
  metadata?: [key: string, texts: string[]][];
};

type WithFilter<Fields extends z.ZodRawShape> = {
  [Name in keyof Fields]: z.output<Fields[Name]>;
} & {
  filter: ChatFilter;
  /** Names of parameters that mean nothing here. */
  ignored: string[];
};

const MetadataTexts = list(wellFormed(maxMetadataUnits));

/** Query parameters: some of the route's own, and the filters. */
export function queryWithFilter<const Fields extends z.ZodRawShape>(fields: Fields) {
  const known = [...Object.keys(fields), ...Object.keys(filters)];
  return z.looseObject({ ...fields, ...filters }).transform((query, context): WithFilter<Fields> => {
    const given = query as Record<string, unknown>;
    const others = Object.keys(given).filter((name) => !known.includes(name));
    const own = Object.keys(fields).map((name) => [name, given[name]]);
    const ignored = others.filter((name) => !name.startsWith(metadataPrefix));
    return {
      ...Object.fromEntries(own),
      filter: filterIn(given, others, context),
      ignored: ignored.slice(0, maxIgnored).map((name) => name.slice(0, maxIgnoredUnits).toWellFormed()),
    };
  });
}

/** Filters in a JSON body: the names and texts of the query. A name that means nothing is an error. */
export const FilterTexts = z
  .record(z.string(), z.string("Must be text, as in the list's query"), "Must be an object")
  .superRefine((texts, context) => {
    const parsed = Filters.safeParse(texts);
    for (const { path, message } of parsed.error?.issues ?? []) context.addIssue({ code: "custom", path, message });
    for (const name of parsed.data?.ignored ?? []) {
      context.addIssue({ code: "custom", path: [name], message: "Is no filter of the list" });
    }
  })
  .meta({
    description: 'The filters of the list, by their names and with the same texts: `{"status": "ended,error"}`',
    example: { status: "ended" },
  });

const Filters = queryWithFilter({});

/** The filter that checked texts mean. */
export const filterOf = (texts: Record<string, string>): ChatFilter => Filters.parse(texts).filter;

function filterIn(given: Record<string, unknown>, others: string[], context: z.core.$RefinementCtx): ChatFilter {
  const named = Object.keys(filters).flatMap((name) => (given[name] === undefined ? [] : [[name, given[name]]]));
  const filter: ChatFilter = Object.fromEntries(named);
  const { started_after: after, started_before: before } = filter;
  if (after !== undefined && before !== undefined && after >= before) {
    context.addIssue({ code: "custom", path: ["started_before"], message: "Must be after started_after" });
  }
  const names = others.filter((name) => name.startsWith(metadataPrefix));
  if (names.length > maxMetadataFilters) {
    const message = `Must be one of ${maxMetadataFilters} keys of metadata at most`;
    context.addIssue({ code: "custom", path: [names[maxMetadataFilters] ?? ""], message });
    return filter;
  }
  const metadata = names.map((name): [string, string[]] => {
    const key = name.slice(metadataPrefix.length);
    const texts = MetadataTexts.safeParse(given[name]);
    const wrong =
      isStorable(key) && key !== "" ? texts.error?.issues[0]?.message : "Must name a key without $ and dots";
    if (wrong) context.addIssue({ code: "custom", path: [name], message: wrong });
    return [key, texts.data ?? []];
  });
  return metadata.length > 0 ? { ...filter, metadata } : filter;
}
