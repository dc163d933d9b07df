/** The memory of an export does not grow with its rows: a worker whose heap may not grow writes 50,000 of them (ROWS). */
import { fork } from "node:child_process";
import { createHash } from "node:crypto";
import { once } from "node:events";
import { createReadStream } from "node:fs";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, expect, it } from "vitest";
import { toSqsEvent } from "../../dev/worker.ts";
import { bundle } from "../../infra/build.ts";
import { ensureIndexes } from "../../lib/platform/indexes.ts";
import { aWorld, call } from "../support/world.ts";

const rows = Number(process.env.ROWS || 50_000);
/** MB of the old generation. A worker that has done nothing needs 40. */
const heapMb = 64;

const folder = await mkdtemp(join(tmpdir(), "scalai-export-"));
afterAll(() => rm(folder, { recursive: true }));

it(`writes ${rows} rows of CSV in ${heapMb} MB of heap`, { timeout: 1_800_000 }, async () => {
  await bundle(fileURLToPath(new URL("../crash/victim.ts", import.meta.url)), folder);
  const { db, subaccountId, owner } = await aWorld();
  await ensureIndexes(db, "tenant");
  for (let from = 0; from < rows / 2; from += 10_000) {
    const chats = Array.from({ length: Math.min(10_000, rows / 2 - from) }, (_, i) => {
      const start_timestamp = 1_600_000_000_000 + (from + i) * 1_000;
      const said = (role: string, content: string) => ({ role, content, created_timestamp: start_timestamp });
      const messages = [said("user", `Where is order ${from + i}?`), said("agent", "It is on its way.")];
      return { subaccountId, chat_id: `chat_${from + i}`, chat_status: "ended", start_timestamp, messages };
    });
    await db.collection("chats").insertMany(chats);
  }
  const request = { token: owner.token, subaccountId };
  const { data } = (await call("exports-create", { ...request, body: { format: "csv" } })).body;

  const started = performance.now();
  const { FILES_FOLDER = "", ...others } = process.env;
  const env = { ...others, FILES_FOLDER };
  const child = fork(join(folder, "index.cjs"), {
    env,
    execArgv: [`--max-old-space-size=${heapMb}`],
    stdio: ["ignore", "ignore", "inherit", "ipc"],
  });
  await once(child, "message");
  for (let status = "pending"; status === "pending"; ) {
    child.send({ name: "worker", event: toSqsEvent({ subaccountId, jobId: data.export_id, kind: "export" }) });
    expect((await once(child, "message"))[0]).toEqual({ status: 200 });
    status = (await call("exports-get", { ...request, exportId: data.export_id })).body.data.status;
  }
  const { body } = await call("exports-get", { ...request, exportId: data.export_id });
  const [, rssKb] = /VmHWM:\s+(\d+)/.exec(await readFile(`/proc/${child.pid}/status`, "utf8").catch(() => "")) ?? [];
  child.kill();

  const hash = createHash("sha256");
  const path = join(FILES_FOLDER, "exports", subaccountId, `${data.export_id}.csv`);
  for await (const piece of createReadStream(path)) hash.update(piece);
  expect(body.data).toMatchObject({ status: "completed", rows, sha256: hash.digest("hex") });
  const [seconds, mb] = [(performance.now() - started) / 1_000, Number(rssKb) / 1_000];
  console.log(
    `${rows} rows, ${(body.data.bytes / 1e6).toFixed(0)} MB: ${seconds.toFixed(1)} s, ${mb.toFixed(0)} MB of memory at most`,
  );
  await rm(path);
  await db.dropDatabase();
});
