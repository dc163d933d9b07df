import type { Definition, Graph, States } from "./definition.ts";
import { ticksOf, timeTicksOf } from "./scale.ts";
import { type Series, type Store, seriesOf, timesOf, type Window } from "./series.ts";
import { picture, text } from "./svg.ts";

const column = 56;
const row = 44;
const gap = 10;
const margin = 16;
const head = 56;
const muted = "#6b7280";
const colours = "2f6fc4 e07b1a 2e9e5b c93a3a 8a5cc2 0f9aa8 c24f93 8c6d3f 9aa81f 555e6b 74a9e8 f0b46e 84cfa3 e69a9a"
  .split(" ")
  .map((colour) => `#${colour}`);

const colourOf = (index: number) => colours[index % colours.length] ?? muted;

interface Box {
  left: number;
  top: number;
  right: number;
  bottom: number;
}

/** Draws every widget of a dashboard at its place, over the same time. */
export function drawn(title: string, { widgets }: Definition, store: Store, window: Window): string {
  const about = `${utc(window.from)} to ${utc(window.until, 11)} UTC, a value every ${window.periodMs / 1_000} s`;
  const from = "Drawn from the local log; what AWS itself would measure is named and left empty";
  const content = [
    text(margin, 26, title, 'font-size="17" font-weight="bold"'),
    text(margin, 45, `${about}. ${from}.`, `fill="${muted}"`),
    ...widgets.flatMap((widget) => {
      const box = boxOf(widget);
      const inside = widget.type === "alarm" ? states(widget, box) : graph(widget, box, store, window);
      return [frame(box, widget.properties.title), ...inside];
    }),
  ];
  const boxes = widgets.map(boxOf);
  const width = margin + Math.max(...boxes.map(({ right }) => right));
  const height = margin + Math.max(...boxes.map(({ bottom }) => bottom));
  return picture(width, height, title, content);
}

/** Where a widget stands, whose place is in columns and rows of CloudWatch's grid. */
function boxOf({ x, y, width, height }: Pick<Graph, "x" | "y" | "width" | "height">): Box {
  return {
    left: margin + x * column,
    top: head + y * row,
    right: margin + (x + width) * column - gap,
    bottom: head + (y + height) * row - gap,
  };
}

const utc = (at: number, start = 0) => new Date(at).toISOString().replace("T", " ").slice(start, 19);

function frame({ left, top, right, bottom }: Box, title: string): string {
  const size = `x="${left}" y="${top}" width="${right - left}" height="${bottom - top}"`;
  return `<rect ${size} rx="6" fill="none" stroke="#d5dae0"/>\n${text(left + 12, top + 21, title, 'font-size="13" font-weight="bold"')}`;
}

/** The alarms by name: how one stands is CloudWatch's to say. */
function states({ properties: { alarms } }: States, { left, top, right }: Box): string[] {
  const perRow = 6;
  const width = Math.floor((right - left - 24) / perRow);
  const tiles = alarms.flatMap((name, i) => {
    const x = left + 12 + (i % perRow) * width;
    const y = top + 34 + Math.floor(i / perRow) * 32;
    const size = `x="${x}" y="${y}" width="${width - 8}" height="25"`;
    const about = text(x + 10, y + 17, name);
    return [`<rect ${size} rx="4" fill="#f1f3f5" stroke="#d5dae0" stroke-dasharray="3 3"/>`, about];
  });
  const note = "each green or red in CloudWatch; not judged here";
  return [text(right - 12, top + 21, note, `fill="${muted}" text-anchor="end"`), ...tiles];
}

function graph({ properties }: Graph, box: Box, store: Store, window: Window): string[] {
  const series = seriesOf(properties, store, window);
  const { lines: legend, height } = legendOf(series, box);
  const plot = { left: box.left + 52, top: box.top + 46, right: box.right - 52, bottom: box.bottom - height - 26 };
  const times = timesOf(window);
  const middle = (plot.left + plot.right) / 2;
  const x = (at: number) =>
    plot.left + ((at + window.periodMs / 2 - window.from) / (window.until - window.from)) * (plot.right - plot.left);
  const lines = [...legend, ...timeAxis(plot, window)];

  if (!series.some(hasData)) {
    const isOurs = series.some(({ points }) => points) || series.length === 0;
    const said = isOurs ? "no data" : "not computed locally: AWS measures it";
    return [
      ...lines,
      text(middle, (plot.top + plot.bottom) / 2, said, `fill="${muted}" text-anchor="middle" font-size="14"`),
    ];
  }
  for (const side of ["left", "right"] as const) {
    const shown = series.map((each, i) => ({ ...each, colour: colourOf(i) })).filter((each) => each.axis === side);
    if (!shown.some(hasData)) continue;
    const layers = properties.stacked ? stackedUp(shown, times) : shown.map(({ points = new Map() }) => points);
    const limits = side === "left" ? properties.yAxis?.left : undefined;
    const most = limits?.max ?? Math.max(...layers.map((points) => Math.max(0, ...points.values())));
    const ticks = ticksOf(limits?.min ?? 0, most);
    const [low = 0, high = 1] = [ticks[0], ticks.at(-1)];
    const y = (value: number) => plot.bottom - ((value - low) / (high - low)) * (plot.bottom - plot.top);
    lines.push(...valueAxis(plot, side, ticks, y, unitOf(shown)));
    for (const [i, points] of layers.entries()) {
      const colour = shown[i]?.colour ?? muted;
      if (properties.stacked) lines.push(area(points, layers[i - 1], times, { x, y }, colour));
      else lines.push(...line(points, window.periodMs, { x, y }, colour));
    }
  }
  return lines;
}

const hasData = ({ points }: Series) => points !== undefined && points.size > 0;

/** The unit that all of an axis have. */
function unitOf(series: Series[]): string {
  const units = new Set(series.map(({ unit }) => unit ?? ""));
  const [unit = ""] = units.size === 1 ? units : [];
  return unit === "None" ? "" : unit;
}

interface Scales {
  x: (at: number) => number;
  y: (value: number) => number;
}

const at = (x: number, y: number) => `${x.toFixed(1)},${y.toFixed(1)}`;

/** Points of neighbouring periods are joined; one alone is a dot. */
function line(points: ReadonlyMap<number, number>, periodMs: number, { x, y }: Scales, colour: string): string[] {
  const runs: [number, number][][] = [];
  let previous = Number.NaN;
  for (const point of points) {
    if (point[0] - previous === periodMs) runs.at(-1)?.push(point);
    else runs.push([point]);
    previous = point[0];
  }
  return runs.flatMap((run) => {
    const path = run.map(([time, value]) => at(x(time), y(value))).join(" ");
    const radius = run.length === 1 ? 2.6 : 1.8;
    return [
      `<polyline points="${path}" fill="none" stroke="${colour}" stroke-width="1.6"/>`,
      ...run.map(
        ([time, value]) =>
          `<circle cx="${x(time).toFixed(1)}" cy="${y(value).toFixed(1)}" r="${radius}" fill="${colour}"/>`,
      ),
    ];
  });
}

/** Each on top of those before it; a period without a value adds nothing. */
function stackedUp(series: Series[], times: number[]): Map<number, number>[] {
  let below = new Map<number, number>();
  return series.map(({ points }) => {
    below = new Map(times.map((time) => [time, (below.get(time) ?? 0) + (points?.get(time) ?? 0)]));
    return below;
  });
}

function area(
  points: ReadonlyMap<number, number>,
  below: ReadonlyMap<number, number> | undefined,
  times: number[],
  { x, y }: Scales,
  colour: string,
): string {
  const top = times.map((time) => at(x(time), y(points.get(time) ?? 0)));
  const bottom = times.map((time) => at(x(time), y(below?.get(time) ?? 0))).reverse();
  return `<polygon points="${[...top, ...bottom].join(" ")}" fill="${colour}" fill-opacity="0.75"/>`;
}

function timeAxis({ left, right, bottom }: Box, window: Window): string[] {
  const ticks = timeTicksOf(window.from, window.until).flatMap(({ at, label }) => {
    const x = left + ((at - window.from) / (window.until - window.from)) * (right - left);
    const mark = `<path d="M${x.toFixed(1)} ${bottom}v4" stroke="#9aa3ad"/>`;
    return [mark, text(Math.round(x), bottom + 16, label, `fill="${muted}" font-size="11" text-anchor="middle"`)];
  });
  return [`<path d="M${left} ${bottom}H${right}" stroke="#9aa3ad"/>`, ...ticks];
}

function valueAxis(plot: Box, side: "left" | "right", ticks: number[], y: Scales["y"], unit: string): string[] {
  const x = side === "left" ? plot.left - 7 : plot.right + 7;
  const style = `fill="${muted}" font-size="11" text-anchor="${side === "left" ? "end" : "start"}"`;
  const lines = ticks.flatMap((tick) => {
    const grid = `<path d="M${plot.left} ${y(tick).toFixed(1)}H${plot.right}" stroke="#e6e9ed"/>`;
    return [
      ...(side === "left" && y(tick) < plot.bottom ? [grid] : []),
      text(x, Math.round(y(tick)) + 4, tick.toLocaleString("en"), style),
    ];
  });
  const end = side === "left" ? plot.left - 40 : plot.right + 40;
  const anchor = side === "left" ? "start" : "end";
  return [...lines, text(end, plot.top - 10, unit, `fill="${muted}" font-size="11" text-anchor="${anchor}"`)];
}

/** Of a text of 11 px, about: fonts differ. */
const widthOf = (label: string) => label.length * 6 + (label.match(/[A-Z_]/g) ?? []).length * 1.7;

/** Names below the graph, in as many rows as they need; and what keeps one from being drawn. */
function legendOf(series: Series[], { left, right, bottom }: Box): { lines: string[]; height: number } {
  const rowHeight = 16;
  const entries = series.map((each, i) => {
    const why = each.points === undefined ? " (not computed locally)" : hasData(each) ? "" : " (no data)";
    const label = `${each.label}${each.axis === "right" ? " (right)" : ""}${why}`;
    return { label, width: 28 + widthOf(label), colour: hasData(each) ? colourOf(i) : "#c3c9d0", why };
  });
  let x = left + 14;
  let y = 0;
  const placed = entries.map((entry) => {
    if (x + entry.width > right - 6 && x > left + 14) {
      x = left + 14;
      y += rowHeight;
    }
    const place = { ...entry, x: Math.round(x), y };
    x += entry.width;
    return place;
  });
  const top = bottom - 12 - y;
  const lines = placed.flatMap(({ label, colour, why, ...entry }) => [
    `<rect x="${entry.x}" y="${top + entry.y - 8}" width="10" height="9" rx="2" fill="${colour}"/>`,
    text(entry.x + 15, top + entry.y, label, `font-size="11"${why && ` fill="${muted}"`}`),
  ]);
  return { lines, height: y + rowHeight + 4 };
}
