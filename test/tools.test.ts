import { execFile } from "node:child_process";
import { promisify } from "node:util";
import { expect, it } from "vitest";
import { secrets } from "../lib/config.ts";
import { key, redis } from "../lib/redis.ts";
import { aWorld } from "./support/world.ts";

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
