import { readFile } from "node:fs/promises";

/** The files of the app that docs/guide.md builds, by name: a block belongs to the last file named before it. */
export async function guideFiles(): Promise<Map<string, string>> {
  const text = await readFile(new URL("../../docs/guide.md", import.meta.url), "utf8");
  const blocks = [...text.matchAll(/```(?:html|jsx|js)\n(.*?)```/gs)];
  return new Map(blocks.map(({ index, 1: lines = "" }) => [fileNameIn(text.slice(0, index)), lines]));
}

function fileNameIn(text: string): string {
  const name = [...text.matchAll(/`(\w+\.(?:html|jsx|js))`/g)].at(-1)?.[1];
  if (!name) throw new Error(`docs/guide.md names no file before a block: ${text.slice(-100)}`);
  return name;
}
