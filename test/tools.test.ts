import { execFile, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { ObjectId } from "mongodb";
import { describe, expect, it } from "vitest";
import { secrets } from "../lib/platform/config.ts";
import { key, redis } from "../lib/platform/redis.ts";
import { tool } from "./support/tool.ts";
import { aWorld } from "./support/world.ts";

const id = "5ca1ab1e00000000000000ff";

/** Each tool that writes, with what it needs to be told. */
const writers = [
  ["sweep.ts", []],
  ["indexes.ts", []],
  ["keys.ts", ["--old-server-gone"]],
  ["forget-cache.ts", ["--subaccount", id]],
  ["forget-access.ts", ["--user", id]],
  ["../dev/seed.ts", ["--chats", "1"]],
] as const satisfies [string, string[]][];

const tools = [
  ...writers
    .filter(([program]) => program !== "../dev/seed.ts")
    .map(([program, args]) => [program, [...args, "--yes"]] as const),
  ["report.ts", ["--subaccount", id]] as const,
];

const away = {
  MONGODB_URL: "mongodb://user:password@127.0.0.1:9/x",
  UPSTASH_REDIS_REST_URL: "http://127.0.0.1:9",
};

/** The one line of a tool that could not do what it was asked to. */
async function complaint(program: string, args: readonly string[], env: NodeJS.ProcessEnv): Promise<string> {
  const { code, stdout, stderr } = await tool(program, [...args], env);
  const said = stderr
    .trimEnd()
    .split("\n")
    .filter((line) => !line.startsWith("Writes to "));
  expect([code, stdout, said.length]).toEqual([1, "", 1]);
  expect(stderr).not.toContain("password");
  return said[0] ?? "";
}

describe.each(tools)("%s says in one line", (program, args) => {
  it("which settings are missing", async () => {
    const said = await complaint(program, args, { MONGODB_URL: "", ENCRYPTION_KEY: "" });
    expect(said).toMatch(/^Missing or malformed: .*MONGODB_URL.*ENCRYPTION_KEY/);
  });

  it("that nobody answers", async () => {
    const isOfRedis = program === "forget-cache.ts" || program === "forget-access.ts";
    const said = await complaint(program, args, away);
    expect(said).toMatch(isOfRedis ? /^Redis d.* not answer/ : /^MongoDB cannot be reached \(\w+\): npm run doctor/);
  });

  it("that it knows no such argument", async () => {
    expect(await complaint(program, ["--bad"], {})).toContain("--bad");
  });
});

describe.each(writers)("%s, which writes", (program, args) => {
  it("names stage, host and database, never the password, and writes nothing without --yes or a terminal", async () => {
    const env = { STAGE: "ada", MONGODB_URL: "mongodb://user:p%40ss@db.example:1,other.example/central?ssl=true" };
    const redis =
      program === "../dev/seed.ts" ? "" : `, Redis ${new URL(process.env.UPSTASH_REDIS_REST_URL ?? "").host}`;
    expect(await tool(program, [...args], env)).toEqual({
      code: 1,
      stdout: "",
      stderr: `Writes to stage ada: MongoDB db.example:1,other.example:27017/central${redis}
There is no terminal to ask in: add --yes
`,
    });
  });

  it("names the cluster of an address by SRV", async () => {
    const { stderr } = await tool(program, [...args], { MONGODB_URL: "mongodb+srv://user:password@db.example/" });
    expect(stderr).toContain("MongoDB db.example/test");
    expect(stderr).not.toContain("password");
  });
});

it("keys:rotate writes nothing in a dry run, and asks for no consent", async () => {
  expect((await tool("keys.ts", ["--dry-run"])).stderr).not.toContain("Writes to");
});

/** Runs a tool in a terminal, and answers its question. */
async function inTerminal(program: string, args: string[], answer: string) {
  const path = fileURLToPath(new URL(`../ops/${program}`, import.meta.url));
  const command = [process.execPath, path, ...args].map((arg) => `'${arg}'`).join(" ");
  const child = spawn("script", ["-qec", command, "/dev/null"], { stdio: ["pipe", "pipe", "inherit"] });
  let said = "";
  for await (const chunk of child.stdout) {
    said += chunk;
    if (said.includes("Go on?") && !child.stdin.writableEnded) child.stdin.end(`${answer}\n`);
  }
  return { code: child.exitCode ?? (await once(child, "exit"))[0], said };
}

it.skipIf(spawnSync("script", ["--version"]).status !== 0)("in a terminal a tool that writes asks first", async () => {
  const { owner } = await aWorld();
  const yes = await inTerminal("forget-access.ts", ["--user", owner.id], "yes");
  expect([yes.code, yes.said]).toEqual([0, expect.stringContaining(`${owner.id}: read anew`)]);
  const no = await inTerminal("forget-access.ts", ["--user", owner.id], "no");
  expect([no.code, no.said]).toEqual([1, expect.stringContaining("Nothing was written")]);
});

describe("a tool that is given an id", () => {
  it("says that there is no such subaccount", async () => {
    expect(await complaint("report.ts", ["--subaccount", id], {})).toBe(`There is no subaccount ${id}`);
    expect(await complaint("forget-cache.ts", ["--subaccount", id, "--yes"], {})).toBe(`There is no subaccount ${id}`);
  });

  it("says whether a chat's transcript was cached, and whether a user is anybody's member", async () => {
    const { subaccountId, owner } = await aWorld();
    expect(await tool("forget-cache.ts", ["--subaccount", subaccountId, "--chat", "chat_x", "--yes"])).toMatchObject({
      code: 0,
      stdout: `${subaccountId}: no transcript of chat_x was cached\n`,
    });
    const known = await tool("forget-access.ts", ["--user", owner.id.toUpperCase(), "--yes"]);
    expect(known).toMatchObject({ code: 0, stderr: expect.not.stringContaining("No membership") });
    for (const user of [new ObjectId().toHexString(), "auth0|x"]) {
      expect(await tool("forget-access.ts", ["--user", user, "--yes"])).toEqual({
        code: 0, // a membership that was deleted is to be forgotten, too
        stdout: `${user}: read anew at the next request of every instance\n`,
        stderr: expect.stringMatching(/\nNo membership of .+ is stored: is the id right\?\n$/),
      });
    }
  });
});

const root = new URL("../", import.meta.url);
const run = promisify(execFile);

/** What `sst shell --stage ada` sets, and beside it a `.env` that was written for another stage. */
function shell(): NodeJS.ProcessEnv {
  const links = Object.entries(secrets).map(([name, link]) => [
    `SST_RESOURCE_${link}`,
    JSON.stringify({ type: "sst.sst.Secret", value: process.env[name] ?? "" }),
  ]);
  const app = { SST_RESOURCE_App: '{"name": "scalai-chat", "stage": "ada" }' };
  return { ...process.env, ...app, ...Object.fromEntries(links), STAGE: "elsewhere" };
}

it("under sst shell the tools act on its stage, and say so", async () => {
  const { owner } = await aWorld();
  const args = ["--import", "./ops/tools.ts", "ops/forget-access.ts", "--user", owner.id, "--yes"];
  const { stdout, stderr } = await run(process.execPath, args, { cwd: root, env: shell() });
  expect(stderr).toMatch(/^stage ada\nWrites to stage ada: MongoDB \S+, Redis \S+\n$/);
  expect(stdout).toContain(owner.id);

  const ours = key("access", "epoch", owner.id);
  expect(ours).toMatch(/^test:/);
  const stages = ["ada", "elsewhere", "local", "test"];
  const written = await Promise.all(stages.map((stage) => redis.get(ours.replace("test", stage))));
  expect(stages.filter((_, i) => written[i] !== null)).toEqual(["ada"]);
});
