import { execFile } from "node:child_process";
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";
import { readEnvFile } from "../infra/env-file.ts";
import { folder } from "./support/folder.ts";

const dev = fileURLToPath(new URL("../dev/", import.meta.url));
const ops = fileURLToPath(new URL("../ops/", import.meta.url));
const text = "# Wörter\nMONGODB_URL=mongodb://127.0.0.1:9/named\r\nSTAGE=ada\n";
const utf16 = Buffer.from(text, "utf16le");
const bigEndian = Buffer.from(utf16).swap16();

/** Runs Node where the `.env` is, with nothing of the tests' environment. */
async function node(...args: string[]) {
  const ended = Promise.withResolvers<{ code: unknown; stdout: string; stderr: string }>();
  const env = { PATH: process.env.PATH, PORT: "0" };
  execFile(process.execPath, args, { cwd: folder, env, timeout: 30_000 }, (error, stdout, stderr) =>
    ended.resolve({ code: error?.code ?? 0, stdout, stderr }),
  );
  return ended.promise;
}
const write = async (content: string | Uint8Array): Promise<string> => {
  const path = join(folder, ".env");
  await writeFile(path, content);
  return path;
};

describe(".env", () => {
  it.each<[string, string]>([
    ["UTF-8", text],
    ["UTF-8 behind a byte order mark", `\ufeff${text}`],
    ["UTF-8 whose first line is a setting, behind a byte order mark", `\ufeff${text.slice(text.indexOf("\n") + 1)}`],
    ["files that were joined, each with its mark", text.replace("MONGODB_URL", "\ufeff\ufeffMONGODB_URL")],
    ["lines that end in CR alone", text.replace(/\r?\n/g, "\r")],
    ["a last line without an end", `PORT=7\n${text.trimEnd()}`],
  ])("is read as %s", async (_what, content) => {
    const { PORT: _, ...variables } = readEnvFile(await write(content));
    expect(variables).toEqual({ MONGODB_URL: "mongodb://127.0.0.1:9/named", STAGE: "ada" });
  });

  it("need not be there", () => {
    expect(readEnvFile(join(folder, ".env"))).toEqual({});
  });

  it.each<[string, Uint8Array]>([
    ["UTF-16 LE", Buffer.concat([Buffer.from([0xff, 0xfe]), utf16])],
    ["UTF-16 BE", Buffer.concat([Buffer.from([0xfe, 0xff]), bigEndian])],
    ["UTF-16 LE without its mark", Buffer.from("STAGE=ada\n", "utf16le")],
    ["UTF-16 BE without its mark", Buffer.from("STAGE=ada\n", "utf16le").swap16()],
    ["ISO 8859-1", Buffer.from(text, "latin1")],
  ])("in %s is refused", async (_what, bytes) => {
    const path = await write(bytes);
    expect(() => readEnvFile(path)).toThrow(/^\S+ is not UTF-8 text .* nothing was started$/);
  });

  it.each(["\u00a0", "\u200b", "\u2060"])(
    "whose name begins with %j is refused, not taken for another",
    async (hidden) => {
      const path = await write(`STAGE=ada\n${hidden}MONGODB_URL=mongodb://u:sekret@127.0.0.1:9/named\n`);
      const said = "has a name with characters other than visible ASCII (?MONGODB_URL): nothing was started";
      expect(() => readEnvFile(path)).toThrow(`${path} ${said}`);
    },
  );

  it("that is no file is refused", async () => {
    const path = join(folder, ".env");
    await mkdir(path);
    expect(() => readEnvFile(path)).toThrow(`${path} cannot be read (EISDIR): nothing was started`);
  });
});

describe("a program", () => {
  const loaded = () =>
    node("--import", `${dev}env.ts`, "-e", "console.log(process.env.MONGODB_URL, process.env.STAGE, process.env.PORT)");

  it("has the variables of .env, if there is one; the environment comes first", async () => {
    expect(await loaded()).toMatchObject({ code: 0, stdout: "undefined undefined 0\n" });
    await write(`${text}PORT=7\n`);
    expect(await loaded()).toMatchObject({ code: 0, stdout: "mongodb://127.0.0.1:9/named ada 0\n" });
  });

  it.each([
    [["--import", `${dev}env.ts`, `${dev}start.ts`]],
    [[`${ops}main.ts`, "doctor"]],
    [[`${dev}local.ts`, "gateway"]],
    [[`${ops}main.ts`, "resources", "--stage", "ada"]],
  ])("says in one line what is wrong with .env, and does not start: %j", async (program) => {
    await write(utf16);
    const { code, stdout, stderr } = await node(...program);
    expect([code, stdout]).toEqual([1, ""]);
    expect(stderr).toMatch(/^\.env is not UTF-8 text .* nothing was started\n$/);
  });
});
