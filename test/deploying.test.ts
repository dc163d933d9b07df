import { spawn } from "node:child_process";
import { readFile } from "node:fs/promises";
import { text } from "node:stream/consumers";
import { expect, it } from "vitest";
import { tool } from "./support/tool.ts";
import { aUser, aWorld, call } from "./support/world.ts";

const guide = await readFile(new URL("../docs/deploying.md", import.meta.url), "utf8");

interface Given {
  args?: string[];
  input?: string;
  env?: NodeJS.ProcessEnv;
}

/** Runs the guide's program that holds this word as `sst shell` would: at the top of the project. */
async function run(word: string, { args = [], input = "", env = {} }: Given = {}): Promise<string> {
  const programs = [...guide.matchAll(/node --input-type=module -e '\n(.*?)'/gs)].map(([, program = ""]) => program);
  const program = programs.find((one) => one.includes(word)) ?? "throw new Error('The guide has no such program')";
  const child = spawn(process.execPath, ["--input-type=module", "-e", program, ...args], {
    cwd: new URL("../", import.meta.url),
    env: { ...process.env, ...env },
    stdio: ["pipe", "pipe", "inherit"],
  });
  child.stdin.end(input);
  return (await text(child.stdout)).trim();
}

it("the token that the guide makes may do all in a subaccount", async () => {
  const { subaccountId } = await aWorld();
  const { status } = await call("list", { token: await run("SignJWT"), subaccountId });
  expect(status).toBe(200);
});

it("the token that the guide makes is of the issuer and for the audience that are set", async () => {
  const token = await run("SignJWT", { env: { JWT_ISSUER: "an-issuer", JWT_AUDIENCE: "an-audience" } });
  const claims = JSON.parse(Buffer.from(token.split(".")[1] ?? "", "base64url").toString());
  expect(claims).toMatchObject({ iss: "an-issuer", aud: "an-audience" });
});

it("the subaccount that the guide adds has an agent that answers its member", async () => {
  const [, args = ""] = /npm run ops -- (subaccount add .*?) --stdin --yes/s.exec(guide.replaceAll("\\\n", "")) ?? [];
  const [userId, agentId, database] = ["64a000000000000000000001", "agent_0123456789", `guide_${Date.now()}`];
  expect(args).toContain(`--members ${userId}:owner`);
  expect(args).toContain(`--agents ${agentId}`);
  const words = args.replace('"Acme"', "Acme").replace("--database acme", `--database ${database}`).split(/\s+/);
  const env = { SUBACCOUNT_RETELL_KEY: "key_of_the_guide" };
  const { stdout } = await tool("subaccount add", [...words.slice(2), "--yes"], env);
  const [, subaccountId = ""] = /^([0-9a-f]{24}): added$/m.exec(stdout) ?? [];
  const { token } = await aUser({ id: userId });
  const { body } = await call("create", { token, subaccountId, body: { agentId } });
  expect(body.data).toMatchObject({ chat_status: "ongoing", retellAccount: { accountName: "Acme" } });
});
