import "./support/apart.ts";
import { execFile } from "node:child_process";
import { promisify } from "node:util";
import { ObjectId } from "mongodb";
import { describe, expect, it } from "vitest";
import { secrets } from "../lib/config.ts";
import { key, redis } from "../lib/redis.ts";
import { tool } from "./support/tool.ts";
import { aWorld } from "./support/world.ts";

const id = "5ca1ab1e00000000000000ff";

/** Each tool with what it needs to be told. */
const tools = [
  ["sweep.ts", []],
  ["indexes.ts", []],
  ["keys.ts", ["--old-server-gone"]],
  ["report.ts", ["--subaccount", id]],
  ["cache.ts", ["--subaccount", id]],
  ["access.ts", ["--user", id]],
] as const satisfies [string, string[]][];

const away = {
  MONGODB_URL: "mongodb://user:password@127.0.0.1:9/x",
  UPSTASH_REDIS_REST_URL: "http://127.0.0.1:9",
};

/** The one line of a tool that could not do what it was asked to. */
async function complaint(program: string, args: readonly string[], env: NodeJS.ProcessEnv): Promise<string> {
  const { code, stdout, stderr } = await tool(program, [...args], env);
  const said = stderr.trimEnd().split("\n");
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
    const isOfRedis = program === "cache.ts" || program === "access.ts";
    const said = await complaint(program, args, away);
    expect(said).toMatch(isOfRedis ? /^Redis d.* not answer/ : /^MongoDB cannot be reached \(\w+\): npm run doctor/);
  });

  it.skipIf(program === "sweep.ts" || program === "indexes.ts")("that it knows no such argument", async () => {
    expect(await complaint(program, ["--bad"], {})).toContain("--bad");
  });
});

describe("a tool that is given an id", () => {
  it("says that there is no such subaccount", async () => {
    for (const program of ["report.ts", "cache.ts"]) {
      expect(await complaint(program, ["--subaccount", id], {})).toBe(`There is no subaccount ${id}`);
    }
  });

  it("says whether a chat's transcript was cached, and whether a user is anybody's member", async () => {
    const { subaccountId, owner } = await aWorld();
    expect(await tool("cache.ts", ["--subaccount", subaccountId, "--chat", "chat_x"])).toEqual({
      code: 0,
      stdout: `${subaccountId}: no transcript of chat_x was cached\n`,
      stderr: "",
    });
    expect(await tool("access.ts", ["--user", owner.id.toUpperCase()])).toMatchObject({ code: 0, stderr: "" });
    for (const user of [new ObjectId().toHexString(), "auth0|x"]) {
      expect(await tool("access.ts", ["--user", user])).toEqual({
        code: 0, // a membership that was deleted is to be forgotten, too
        stdout: `${user}: read anew at the next request of every instance\n`,
        stderr: `No membership of ${user} is stored: is the id right?\n`,
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
  const args = ["--import", "./dev/tools.ts", "dev/access.ts", "--user", owner.id];
  const { stdout, stderr } = await run(process.execPath, args, { cwd: root, env: shell() });
  expect(stderr).toBe("stage ada\n");
  expect(stdout).toContain(owner.id);

  const ours = key("access", "epoch", owner.id);
  expect(ours).toMatch(/^test:/);
  const stages = ["ada", "elsewhere", "local", "test"];
  const written = await Promise.all(stages.map((stage) => redis.get(ours.replace("test", stage))));
  expect(stages.filter((_, i) => written[i] !== null)).toEqual(["ada"]);
});
