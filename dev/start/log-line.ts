import { styleText } from "node:util";
import { visible } from "../../ops/visible.ts";

type Colour = Parameters<typeof styleText>[0];

const colours: Record<string, Colour> = { DEBUG: "gray", INFO: "green", WARN: "yellow", ERROR: "red", CRITICAL: "red" };

/** A JSON log line in a readable form for a terminal: time, level, operation, status, duration, operationId. */
export function readable(line: string): string {
  const fields = parse(line);
  if (!fields) return line;
  const { timestamp, level = "", operation = "", message, status, duration, operationId = "" } = fields;
  const time = new Date(String(timestamp)).toTimeString().slice(0, 8);
  const outcome =
    status === undefined ? [] : [paint(statusColour(Number(status)), String(status)), `${duration} ms`.padStart(8)];
  const said = status === undefined || level !== "INFO" ? [String(message)] : [];
  const why = [fields.code, reason(fields.reason)].filter((text) => text !== undefined && text !== "");
  return [
    paint("gray", time),
    paint(colours[String(level)] ?? "gray", String(level).padEnd(5)),
    String(operation).padEnd(10),
    ...outcome,
    ...said,
    ...why,
    paint("gray", String(operationId)),
  ].join("  ");
}

/** Whether a line is a metric for CloudWatch, which a terminal does not show. */
export const isMetric = (line: string) => line.startsWith('{"_aws":');

/** Whether a line reports a run of the sweep that had nothing to do. There is one each minute. */
export function isIdleSweep(line: string): boolean {
  const { message, settled, orphansEnded, failed } = parse(line) ?? {};
  return message === "Swept" && !settled && !orphansEnded && !failed;
}

/** Whether a function logged this line. */
export const isLog = (line: string) => line.startsWith('{"level":') || isMetric(line);

function parse(line: string): Record<string, unknown> | undefined {
  if (!line.startsWith("{")) return undefined;
  try {
    const fields: Record<string, unknown> = JSON.parse(line, (_name, value) =>
      typeof value === "string" ? visible(value) : value,
    );
    return "level" in fields && "timestamp" in fields ? fields : undefined;
  } catch {
    return undefined;
  }
}

/** The innermost cause says most; the stack stays in the file. */
function reason(error: unknown): string | undefined {
  if (typeof error !== "object" || error === null) return undefined;
  const { name, message, cause }: { name?: unknown; message?: unknown; cause?: unknown } = error;
  return reason(cause) ?? (message ? `${name}: ${message}` : String(name));
}

function statusColour(status: number): Colour {
  if (status >= 500) return "red";
  return status >= 400 ? "yellow" : "green";
}

function paint(colour: Colour, text: string): string {
  return styleText(colour, text, { stream: process.stdout });
}
