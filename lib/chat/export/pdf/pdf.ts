import { once } from "node:events";
import { setImmediate } from "node:timers/promises";
import PDFDocument from "pdfkit";
import type { Deadline } from "../../../platform/deadline.ts";
import { ApiError } from "../../../platform/errors.ts";
import type { ReadableChat, ReadableMessage } from "../readable.ts";
import { Sheet, type Style } from "./sheet.ts";

const styles = {
  title: { size: 15, color: "#111111", lineHeight: 22 },
  fact: { size: 9, color: "#333333", lineHeight: 14 },
  about: { size: 8, color: "#666666", lineHeight: 13 },
  text: { size: 10, color: "#111111", lineHeight: 15 },
} satisfies Record<string, Style>;

/** What is left when all is laid out: to embed the faces, and to compress the pages. */
const finishMs = 4_000;

/**
 * A chat as a PDF of A4 pages, with the chat's id at the top of each, and the number of the page at its end.
 *
 * @throws EXPORT_TOO_LARGE when time runs out
 */
export async function toPdf({ title, facts, messages }: ReadableChat, deadline: Deadline): Promise<Buffer> {
  const doc = new PDFDocument({
    size: "A4",
    bufferPages: true,
    margin: 0,
    info: { Title: title, Producer: "ScalAI Chat", Creator: "ScalAI Chat" },
    ...withoutFont,
  });
  const chunks: Buffer[] = [];
  doc.on("data", (chunk: Buffer) => chunks.push(chunk));
  const ended = once(doc, "end");

  const sheet = new Sheet(doc);
  await sheet.add([[styles.title, title]]);
  for (const [label, text] of facts) await sheet.add([[styles.fact, `${label}: ${text}`]]);
  for (const message of messages) {
    sheet.skip(9);
    await sheet.add([
      [styles.about, aboutOf(message)],
      ...message.text.split("\n").map((line) => [styles.text, line] as const),
    ]);
    await setImmediate(); // so that the request's deadline can end it
    if (deadline.leftMs < finishMs) throw new ApiError("EXPORT_TOO_LARGE");
  }
  await sheet.finish(styles.about, title);
  doc.end();
  await ended;
  return Buffer.concat(chunks);
}

const aboutOf = ({ speaker, at, notes }: ReadableMessage) => [speaker, at, ...notes].join(" · ");

/** pdfkit's default is a font of its own, which it would read from its folder. */
const withoutFont = { font: null as unknown as string };
