import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { ObjectId } from "mongodb";
import { afterAll, describe, expect, it } from "vitest";
import * as majority from "../bench/majority.ts";
import * as bench from "../bench/run.ts";
import { local } from "../dev/local.ts";
import * as openapi from "../dev/openapi.ts";
import { command as start } from "../dev/start.ts";
import * as build from "../infra/build.ts";
import * as release from "../infra/release.ts";
import { secrets } from "../lib/platform/config.ts";
import { key, redis } from "../lib/platform/redis.ts";
import { type Command, helpOf, type Named, parse } from "../ops/command.ts";
import { type Group, listOf, namedIn } from "../ops/dispatch.ts";
import { ops } from "../ops/main.ts";
import { mongoTarget } from "../ops/target.ts";
import { prove } from "./prove.ts";
import { httpProxy, mongoProxy, Recorder } from "./support/proxy.ts";
import { program, tool } from "./support/tool.ts";
import { aChat, aWorld } from "./support/world.ts";

const id = "5ca1ab1e00000000000000ff";

const commands: [string, Named, Command][] = [];
for (const group of [ops, local] satisfies Group[]) {
  for (const [name, row] of Object.entries(group.rows)) {
    if (!("load" in row)) continue; // a package's own program
    const named = namedIn(group, name);
    commands.push([named.call, named, (await row.load()).command]);
  }
}
commands.push(["npm start --", { call: "npm start --", says: "starts everything" }, start as unknown as Command]);
for (const { named, command } of [build, bench, openapi, release, majority]) {
  commands.push([named.call, named, command as unknown as Command]); // its flags have narrower types
}

/** stderr without the line that names the target. */
const withoutTarget = (stderr: string) =>
  stderr.split("\n").filter((line) => line !== "" && !line.startsWith("Stage "));

/** The one line of a command that could not do what it was asked to. */
async function complaint(name: string, args: readonly string[], env: NodeJS.ProcessEnv): Promise<string> {
  const { code, stdout, stderr } = await tool(name, args, env);
  const said = withoutTarget(stderr);
  expect([code, stdout, said.length]).toEqual([1, "", 1]);
  expect(stderr).not.toContain("password");
  return said[0] ?? "";
}

describe.each(commands)("%s", (_name, named, command) => {
  it("prints its flags with --help, whatever else is given", () => {
    expect(parse(named, command, ["--bad", "--help"])).toBe("help");
    const text = helpOf(named, command);
    for (const name of Object.keys(command.flags)) expect(text).toContain(`--${name}`);
  });

  it("refuses an unknown flag and an extra argument in one line", () => {
    const refused = (...args: string[]) => {
      expect(() => parse(named, command, args)).toThrow(/^[^\n]*; --help lists its flags$/);
    };
    refused("--bad");
    refused(...Array.from({ length: (command.operands?.atMost ?? 0) + 1 }, () => "extra"));
  });

  it("refuses a wrong value, and a flag without one", () => {
    for (const [name, { type }] of Object.entries(command.flags)) {
      const wrong = {
        boolean: "=x",
        id: "=123",
        number: "=-1",
        url: "=ftp://x",
        time: "=2026-11-30",
        text: "=",
        path: "=",
      }[type];
      expect(() => parse(named, command, [`--${name}${wrong}`])).toThrow(`--${name}`);
      if (type !== "boolean") expect(() => parse(named, command, [`--${name}`])).toThrow("needs a value");
      if (type !== "boolean") expect(() => parse(named, command, [`--${name}`, "--help="])).toThrow("needs a value");
    }
  });

  it("names its target, and has a dry run, if it writes", () => {
    const writes = "yes" in command.flags;
    expect("dry-run" in command.flags).toBe(writes);
    if (writes) expect(command.target).toBeDefined();
  });
});

it("npm run ops lists its commands, and says that there is no other", async () => {
  expect(await tool("")).toEqual({ code: 0, stdout: `${listOf(ops)}\n`, stderr: "" });
  for (const name of Object.keys(ops.rows)) expect(listOf(ops)).toContain(`\n  ${name}  `);
  expect(await tool("nonsense")).toMatchObject({
    code: 1,
    stderr: expect.stringMatching(/^[^\n]*no command nonsense/),
  });
});

/** The programs that have another parser, or that the tests above do not start as a process. */
it.each<[string, string?]>([
  ["bench/majority.ts"],
  ["bench/run.ts"],
  ["dev/openapi.ts"],
  ["dev/start.ts"],
  ["infra/build.ts"],
  ["infra/release.ts"],
  ["test/prove.ts fleet", "--testNamePattern"],
  ["test/prove.ts chaos", "--sends N"],
  ["dev/local.ts simulator", "--state FILE"],
  ["dev/local.ts emulator", "--data DIR"],
])("%s refuses an unknown flag, also as a process of its own", async (line, flag) => {
  const wrong = await program(line, ["--bad"]);
  expect([wrong.code, wrong.stdout]).toEqual([1, ""]);
  expect(wrong.stderr).toMatch(/(there is no flag|[Uu]nknown option) [`']?--bad/);
  if (flag === undefined) return;
  expect(await program(line, ["--help"])).toMatchObject({ code: 0, stdout: expect.stringContaining(flag) });
});

describe("what the documentation tells to run", async () => {
  const root = new URL("../", import.meta.url);
  const read = (path: string) => readFile(new URL(path, root), "utf8");
  const pages = (await readdir(new URL("docs", root))).filter((name) => name.endsWith(".md"));
  const texts = await Promise.all(["README.md", "CONTRIBUTING.md", ...pages.map((name) => `docs/${name}`)].map(read));
  const all = texts.join("\n").replaceAll("\\\n", " ");

  it("is a script of package.json", async () => {
    const { scripts } = JSON.parse(await read("package.json"));
    const named = Array.from(all.matchAll(/npm run ([a-z:]+)/g), ([, name = ""]) => name);
    expect(named.length).toBeGreaterThan(100);
    expect(named.filter((name) => !(name in scripts))).toEqual([]);
  });

  it("is a command that there is, with flags that it has", () => {
    const flagsOf = new Map(commands.map(([call, , { flags }]) => [call, Object.keys(flags)]));
    const others = [local, prove].flatMap((group) => Object.keys(group.rows).map((name) => namedIn(group, name).call));
    const calls = [...flagsOf.keys(), ...others].sort((a, b) => b.length - a.length); // the longest first
    const told = Array.from(all.matchAll(/(?:npm run \w+ --|npm start --|node \w+\/)[^`\n|#]*/g), ([line]) => {
      const call = calls.find((one) => line.startsWith(one) && !/^[\w-]/.test(line.slice(one.length)));
      const flags = Array.from(line.slice(call?.length).matchAll(/--([a-z][a-z-]*)/g), ([, flag = ""]) => flag);
      const known = flagsOf.get(call ?? "");
      return { line, call, wrong: known ? flags.filter((flag) => !["help", ...known].includes(flag)) : [] };
    });
    expect(told.length).toBeGreaterThan(100);
    expect(told.filter(({ call, wrong }) => call === undefined || wrong.length > 0)).toEqual([]);
  });
});

it("docs/commands.md has every command with its flags", async () => {
  const file = fileURLToPath(new URL("../docs/commands.md", import.meta.url));
  const mark = "<!-- The rest is written by: npx vitest run test/commands.test.ts -u -->";
  const [intro = ""] = (await readFile(file, "utf8")).split(mark);
  const section = (title: string, text: string) => `${title}\n\n\`\`\`text\n${text}\n\`\`\``;
  const sections = commands.map(([name, named, command]) => section(`### \`${name}\``, helpOf(named, command)));
  await expect(`${intro}${mark}\n\n${sections.join("\n\n")}\n`).toMatchFileSnapshot(file);
});

it.each([
  ["sweep", []],
  ["report", []],
  ["forget cache", ["--subaccount", id]],
  ["forget access", ["--user", id]],
])("npm run ops -- %s says in one line that a database does not answer", async (name, args) => {
  const env = { MONGODB_URL: "mongodb://user:password@127.0.0.1:9/x", UPSTASH_REDIS_REST_URL: "http://127.0.0.1:9" };
  const said = await complaint(name, name === "report" ? args : [...args, "--yes"], env);
  const mongo = /^MongoDB cannot be reached \(\w+\): npm run ops -- doctor/;
  expect(said).toMatch(name.startsWith("forget") ? /^Redis d.* not answer/ : mongo);
});

it("a command says in one line which settings are missing", async () => {
  const said = await complaint("report", [], { MONGODB_URL: " ", ENCRYPTION_KEY: "" });
  expect(said).toMatch(/^Missing or malformed: .*MONGODB_URL.*ENCRYPTION_KEY/);
});

it("a command that writes names stage, host and database, never the password, and asks: without a terminal it needs --yes", async () => {
  const env = { STAGE: "ada", MONGODB_URL: "mongodb://user:p%40ss@db.example:1,other.example/central?ssl=true" };
  const { host } = new URL(process.env.UPSTASH_REDIS_REST_URL ?? "");
  expect(await tool("forget access", ["--user", id], env)).toEqual({
    code: 1,
    stdout: "",
    stderr: `Stage ada: MongoDB db.example:1,other.example:27017/central, Redis ${host}
There is no terminal to ask in: add --yes
`,
  });
  const { name } = mongoTarget("mongodb+srv://user:password@db.example/", false);
  expect(name).toBe("Stage test: MongoDB db.example/test");
});

describe("a dry run", async () => {
  const recorder = new Recorder();
  const mongo = await mongoProxy(new URL(process.env.MONGODB_URL ?? ""), recorder);
  const upstash = await httpProxy("upstash", process.env.UPSTASH_REDIS_REST_URL ?? "", recorder);
  afterAll(() => Promise.all([mongo.stop(), upstash.stop()]));
  const url = new URL(process.env.MONGODB_URL ?? "");
  url.port = String(mongo.port);
  url.search = "?directConnection=true"; // else the driver would go around the proxy
  const env = { MONGODB_URL: url.href, UPSTASH_REDIS_REST_URL: `http://127.0.0.1:${upstash.port}` };
  const reads = /^((find|getMore|aggregate|count|distinct|listIndexes|listCollections)\b.*|(get|mget|scan)\b.*)$/i;

  /** Each has something to write: a due chat, a secret under an older key, a missing index, a cached transcript. */
  async function aStageWithWork() {
    const world = await aWorld();
    const chatId = await aChat(world);
    const due = { "internal.nextSweepAt": new Date(0) };
    await world.db.collection("chats").updateOne({ chat_id: chatId }, { $set: due });
    await redis.set(key("chat", world.subaccountId, chatId), "cached", 60);
    return { ...world, chatId };
  }

  const tried: [string, (world: Awaited<ReturnType<typeof aStageWithWork>>) => string[], RegExp][] = [
    ["sweep", () => [], /"due":[1-9]/],
    ["pause", () => ["--all"], /^would pause sweep and webhooks of [1-9]/],
    ["resume", ({ subaccountId }) => ["--subaccount", subaccountId], /would be resumed; /],
    [
      "subaccount move",
      ({ subaccountId }) => ["--subaccount", subaccountId, "--database", `to_${subaccountId}`],
      /^would move 1 chats$/m,
    ],
    [
      "subaccount add",
      ({ subaccountId }) => ["--name", "New", "--database", `new_${subaccountId}`, "--agents", "agent_x"],
      /^would be added$/m,
    ],
    ["subaccount rekey", ({ subaccountId }) => ["--subaccount", subaccountId], /would have a new API key, 1 keys/],

    ["subaccount disable", ({ subaccountId }) => ["--subaccount", subaccountId], /would be inactive/],
    ["subaccount enable", ({ subaccountId }) => ["--subaccount", subaccountId], /is active$/m],
    ["indexes", () => [], /^missing {3}t_\w+\.chats\.subaccountId_1_start_timestamp_-1_chat_id_-1$/m],
    [
      "backfill",
      ({ subaccountId }) => ["--subaccount", subaccountId],
      /1 chats read; missing: stats 0, tags 0, words 1;/,
    ],
    ["keys rotate", () => [], /pending {2}retellaccounts/],
    ["forget cache", ({ subaccountId }) => ["--subaccount", subaccountId], /would drop the list and 1 transcript$/m],
    ["forget access", ({ owner }) => ["--user", owner.id], /would be read again/],
  ];

  it("is tried below for every command that writes", () => {
    const writing = commands.filter(([, , { flags }]) => "yes" in flags).map(([call]) => call);
    const calls = [
      ...tried.map(([name]) => namedIn(ops, name).call),
      "npm run local -- seed",
      "npm run local -- reset",
    ];
    expect(calls.toSorted()).toEqual(writing.toSorted());
  });

  it.each(tried)("of %s says what it would write, and only reads", async (name, args, says) => {
    const world = await aStageWithWork();
    recorder.trips = [];
    const newKey = { ENCRYPTION_KEY: "0".repeat(64), ENCRYPTION_KEYS_OLD: process.env.ENCRYPTION_KEY ?? "" };
    const secrets = { SUBACCOUNT_RETELL_KEY: world.apiKey };
    const { code, stdout, stderr } = await tool(name, [...args(world), "--dry-run"], { ...env, ...newKey, ...secrets });
    expect([code, withoutTarget(stderr)]).toEqual([0, []]);
    expect(stderr).toMatch(/^Stage test: .*; dry run, nothing is written\n$/);
    expect(stdout).toMatch(says);
    expect(recorder.trips.length).toBeGreaterThan(0);
    expect(recorder.trips.map(({ what }) => what).filter((what) => !reads.test(what))).toEqual([]);
  });

  it("of seed adds no chat, of reset deletes no file", async () => {
    const { subaccountId } = await aStageWithWork();
    recorder.trips = [];
    const seed = await tool("seed", ["--chats", "2", "--subaccount", subaccountId, "--dry-run"], env, "dev/local.ts");
    expect(seed).toMatchObject({ code: 0, stdout: `would add up to 2 chats of 10 messages to ${subaccountId}\n` });
    expect(recorder.trips).toEqual([]);

    const folder = await mkdtemp(join(tmpdir(), "scalai-reset-"));
    await writeFile(join(folder, "dev.json"), "{}");
    const reset = await tool("reset", ["--data", folder, "--dry-run"], {}, "dev/local.ts");
    expect([reset.code, reset.stdout, await readdir(folder)]).toEqual([0, "would delete: dev.json\n", ["dev.json"]]);
    await rm(folder, { recursive: true });
  });
});

/** Runs a command in a terminal, and answers its question. */
async function inTerminal(args: string[], answer: string) {
  const path = fileURLToPath(new URL("../ops/main.ts", import.meta.url));
  const line = [process.execPath, path, ...args].map((arg) => `'${arg}'`).join(" ");
  const child = spawn("script", ["-qec", line, "/dev/null"], { stdio: ["pipe", "pipe", "inherit"] });
  let said = "";
  for await (const chunk of child.stdout) {
    said += chunk;
    if (said.includes("Write there?") && !child.stdin.writableEnded) child.stdin.end(`${answer}\n`);
  }
  return { code: child.exitCode ?? (await once(child, "exit"))[0], said };
}

it.skipIf(spawnSync("script", ["--version"]).status !== 0)(
  "in a terminal a command that writes asks first",
  async () => {
    const { owner } = await aWorld();
    const yes = await inTerminal(["forget", "access", "--user", owner.id], "yes");
    expect([yes.code, yes.said]).toEqual([0, expect.stringContaining(`${owner.id}: every instance reads`)]);
    const no = await inTerminal(["forget", "access", "--user", owner.id], "no");
    expect([no.code, no.said]).toEqual([1, expect.stringContaining("Nothing was written")]);
  },
);

describe("a command that is given an id", () => {
  it("says that there is no such subaccount", async () => {
    expect(await complaint("report", ["--subaccount", id], {})).toBe(`There is no subaccount ${id}`);
    expect(await complaint("forget cache", ["--subaccount", id, "--yes"], {})).toBe(`There is no subaccount ${id}`);
  });

  it("says whether a chat's transcript was cached, and whether a user is anybody's member", async () => {
    const { subaccountId, owner } = await aWorld();
    expect(await tool("forget cache", ["--subaccount", subaccountId, "--chat", "chat_x", "--yes"])).toMatchObject({
      code: 0,
      stdout: `${subaccountId}: no transcript of chat_x was cached\n`,
    });
    const known = await tool("forget access", ["--user", owner.id.toUpperCase(), "--yes"]);
    expect(known).toMatchObject({ code: 0, stderr: expect.not.stringContaining("No membership") });
    const user = new ObjectId().toHexString();
    expect(await tool("forget access", ["--user", user, "--yes"])).toEqual({
      code: 0, // a deleted membership must be forgotten too
      stdout: `${user}: every instance reads the permissions again at its next request\n`,
      stderr: expect.stringMatching(/\nNo membership of .+ is stored: is the id right\?\n$/),
    });
  });
});

/** What `sst shell --stage ada` sets. STAGE is that of a `.env` that was written for another stage. */
function shell(): NodeJS.ProcessEnv {
  const links = Object.entries(secrets).map(([name, link]) => [
    `SST_RESOURCE_${link}`,
    JSON.stringify({ type: "sst.sst.Secret", value: process.env[name] ?? "" }),
  ]);
  const app = { SST_RESOURCE_App: '{"name": "scalai-chat", "stage": "ada" }' };
  return { ...app, ...Object.fromEntries(links), STAGE: "elsewhere" };
}

it("under sst shell a command works on its stage, and says so", async () => {
  const { owner } = await aWorld();
  const { stdout, stderr } = await tool("forget access", ["--user", owner.id, "--yes"], shell());
  expect(stderr).toMatch(/^Stage ada: MongoDB \S+, Redis \S+\n$/);
  expect(stdout).toContain(owner.id);

  const ours = key("access", "epoch", owner.id);
  expect(ours).toMatch(/^test:/);
  const stages = ["ada", "elsewhere", "local", "test"];
  const written = await Promise.all(stages.map((stage) => redis.get(ours.replace("test", stage))));
  expect(stages.filter((_, i) => written[i] !== null)).toEqual(["ada"]);
});
