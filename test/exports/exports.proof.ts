/**
 * An export's worker is killed at every step: before and after the effect of each of its calls to Mongo, S3 and SQS. It
 * is canceled at each of its calls; it loses its lease at each of them and goes on beside the next worker; the queue
 * delivers twice, late, or never. The file that is there in the end is, byte for byte, what a naive export would write.
 */
import { createHash } from "node:crypto";
import { afterAll, beforeEach, describe, expect, it, vi } from "vitest";
import { toSqsEvent } from "../../dev/worker.ts";
import { handler as sweep } from "../../functions/sweep.ts";
import { handler as worker } from "../../functions/worker.ts";
import { wholeTranscript } from "../../lib/chat/read.ts";
import type { StoredJob } from "../../lib/jobs/model.ts";
import { aVictim, momentsOf } from "../crash/crash.ts";
import { anAws } from "../support/aws.ts";
import { aContext, aWorld, call, central, type World } from "../support/world.ts";

const aws = await anAws();
afterAll(() => aws.stop());
Object.assign(process.env, aws.environment());
beforeEach(() => {
  aws.before = () => {};
});

interface Exporting {
  world: World;
  exportId: string;
  /** What a naive export writes. */
  expected: Buffer;
}

const table: string[] = [];
afterAll(() => console.log(table.join("\n")));

/** A tenant whose chats fill two parts, and an export that is asked for. */
async function anExport(): Promise<Exporting> {
  const world = await aWorld();
  const { subaccountId, owner, db } = world;
  const chats = Array.from({ length: 12 }, (_, i) => {
    const start_timestamp = 1_759_398_000_000 + Math.floor(i / 2); // two of the same millisecond
    const message = { role: "user", content: `${i}`.repeat(400_000), created_timestamp: start_timestamp };
    return { subaccountId, chat_id: `chat_${i}`, chat_status: "ended", start_timestamp, messages: [message] };
  });
  await db.collection("chats").insertMany(chats);
  const naive = (await db.collection("chats").find().toArray()).sort(
    (one, other) => other.start_timestamp - one.start_timestamp || (one.chat_id < other.chat_id ? 1 : -1),
  );
  const lines = naive.map((chat) => `${JSON.stringify(wholeTranscript(chat as never))}\n`); // as MongoDB gives it
  const request = { token: owner.token, subaccountId, body: { format: "jsonl" } };
  const { body } = await call("exports-create", request);
  return { world, exportId: body.data.export_id, expected: Buffer.from(lines.join("")) };
}

const eventOf = ({ world: { subaccountId }, exportId: jobId }: Exporting) =>
  toSqsEvent({ subaccountId, jobId, kind: "export" });
const work = (exporting: Exporting) => worker(eventOf(exporting), aContext(330_000));
const jobsOf = ({ world: { db } }: Exporting) => db.collection<StoredJob>("jobs");
const shown = async ({ world: { owner, subaccountId }, exportId }: Exporting) =>
  (await call("exports-get", { token: owner.token, subaccountId, exportId })).body.data;
const cancel = ({ world: { owner, subaccountId }, exportId }: Exporting) =>
  call("exports-cancel", { token: owner.token, subaccountId, exportId });

/** As if the lease of a worker that is silent had run out, and every wait. */
const letLeaseEnd = (exporting: Exporting) =>
  jobsOf(exporting).updateOne(
    { _id: exporting.exportId, status: { $in: ["pending", "running"] } },
    { $set: { leaseUntil: new Date(0), sweepAt: new Date(0) } },
  );

/** What the sweep and the queue do, until the export is over. */
async function recover(exporting: Exporting): Promise<void> {
  for (let round = 0; round < 5; round++) {
    await letLeaseEnd(exporting);
    const before = aws.messages.length;
    await sweep();
    const mine = aws.messages.slice(before).filter(({ jobId }) => jobId === exporting.exportId);
    if (mine.length === 0) return;
    await work(exporting);
  }
}

const sha256 = (bytes: Buffer) => createHash("sha256").update(bytes).digest("hex");
const fileOf = ({ world, exportId }: Exporting) => aws.objects.get(`exports/${world.subaccountId}/${exportId}.jsonl`);

/** What is wrong with a finished export; "" when nothing is. */
async function wrongWith(exporting: Exporting): Promise<string> {
  const { status, sha256: told, bytes, rows, error } = await shown(exporting);
  if (status !== "completed") return `${status} ${error?.code}`;
  const file = fileOf(exporting);
  if (!file?.equals(exporting.expected))
    return `the file differs: ${file?.length} of ${exporting.expected.length} bytes`;
  const isTold = told === sha256(file) && bytes === file.length && rows === 12;
  return isTold ? "" : "sha256, bytes or rows are not those of the file";
}

async function forget({ world, exportId }: Exporting): Promise<void> {
  aws.objects.delete(`exports/${world.subaccountId}/${exportId}.jsonl`);
  await central.collection("subaccounts").deleteOne({ databaseName: world.db.databaseName });
  await world.db.dropDatabase();
}

it("a worker may be killed at any moment: the next one goes on, no row is lost or doubled", {
  timeout: 300_000,
}, async () => {
  const [first, victim] = [await anExport(), await aVictim(aws)];
  const trips = await victim.watch({ name: "worker", event: eventOf(first) });
  expect(await wrongWith(first)).toBe("");
  const moments = momentsOf(trips ?? []);
  const violations: string[] = [];
  const die = async (moment: (typeof moments)[number]) => {
    const [exporting, dying] = [await anExport(), await aVictim(aws)];
    const isKilled = await dying.kill({ name: "worker", event: eventOf(exporting) }, moment);
    await recover(exporting);
    const wrong = isKilled ? await wrongWith(exporting) : "not reached";
    if (wrong) violations.push(`${moment.name}: ${wrong}`);
    await forget(exporting);
  };
  const left = [...moments];
  const lane = async () => {
    for (let moment = left.shift(); moment; moment = left.shift()) await die(moment);
  };
  await Promise.all([lane(), lane()]);
  table.push(`killed: ${trips?.length} calls, ${moments.length} deaths, ${violations.length} violations`);
  expect(moments.length).toBeGreaterThan(15);
  expect(violations).toEqual([]);
});

/** The calls of an export that nobody disturbs. */
async function callsOf(): Promise<string[]> {
  const calls: string[] = [];
  const exporting = await anExport();
  aws.before = (what) => void calls.push(what);
  await work(exporting);
  aws.before = () => {};
  expect(await wrongWith(exporting)).toBe("");
  await forget(exporting);
  return calls;
}

describe("at each call to S3", async () => {
  const calls = await callsOf();
  expect(calls).toEqual(["POST uploads", "PUT part", "PUT part", "POST complete"]);

  it.each(calls.map((what, i) => [i, what] as const))(
    "%i (%s) it may be canceled: nothing is left of it",
    async (at) => {
      const exporting = await anExport();
      let seen = 0;
      aws.before = async (what) => {
        if (what.startsWith("DELETE") || seen++ !== at) return;
        expect((await cancel(exporting)).status).toBe(200);
      };
      await work(exporting);
      await recover(exporting);
      expect([(await shown(exporting)).status, fileOf(exporting)]).toEqual(["canceled", undefined]);
      // An upload that began while it was canceled has no part, and is aborted by the bucket's lifecycle.
      expect([...aws.uploads.values()].filter(({ parts }) => parts.size > 0)).toEqual([]);
      await forget(exporting);
    },
  );

  it.each(calls.map((what, i) => [i, what] as const))(
    "%i (%s) a worker may lose its lease, and go on beside the next one",
    async (at) => {
      const exporting = await anExport();
      let seen = 0;
      const held = Promise.withResolvers<void>();
      const reached = Promise.withResolvers<void>();
      aws.before = async () => {
        if (seen++ !== at) return;
        reached.resolve();
        await held.promise;
      };
      const late = work(exporting);
      await reached.promise;
      await letLeaseEnd(exporting);
      await work(exporting);
      expect(await wrongWith(exporting)).toBe("");
      held.resolve();
      await late;
      await recover(exporting);
      expect(await wrongWith(exporting)).toBe("");
      await forget(exporting);
    },
  );

  it.each(calls.map((what, i) => [i, what] as const))("%i (%s) S3 may fail, and is asked again", async (at) => {
    const exporting = await anExport();
    let seen = 0;
    aws.before = () => {
      if (seen++ === at) throw new Error("500");
    };
    await work(exporting);
    expect(await wrongWith(exporting)).toBe("");
    await forget(exporting);
  });
});

it("the queue may deliver twice at once, and again when all is done", async () => {
  const exporting = await anExport();
  await Promise.all([work(exporting), work(exporting), work(exporting)]);
  expect(await wrongWith(exporting)).toBe("");
  const before = await jobsOf(exporting).findOne({ _id: exporting.exportId });
  await work(exporting);
  expect(await jobsOf(exporting).findOne({ _id: exporting.exportId })).toEqual(before);
  await forget(exporting);
});

it("the queue may refuse or lose the message: the sweep sends another, once", async () => {
  aws.before = (what) => {
    if (what === "send") throw new Error("SQS is away");
  };
  const exporting = await anExport();
  aws.before = () => {};
  expect((await shown(exporting)).status).toBe("pending");
  await sweep();
  const mine = () => aws.messages.filter(({ jobId }) => jobId === exporting.exportId);
  expect(mine()).toEqual([]); // its time has not come
  await letLeaseEnd(exporting);
  await Promise.all([sweep(), sweep()]);
  expect(mine()).toHaveLength(1);
  await work(exporting);
  expect(await wrongWith(exporting)).toBe("");
  await forget(exporting);
});

it("a job that keeps failing is failed with its code, and leaves nothing in the bucket", async () => {
  const exporting = await anExport();
  aws.before = (what) => {
    if (what === "PUT part") throw new Error("500");
  };
  await work(exporting);
  expect(await shown(exporting)).toMatchObject({ status: "pending", error: { code: "EXPORT_FAILED" } });
  for (let attempt = 2; attempt <= 8; attempt++) {
    await letLeaseEnd(exporting);
    await work(exporting);
  }
  expect(await shown(exporting)).toMatchObject({ status: "failed", error: { code: "EXPORT_FAILED" } });
  // What others have begun and lost is left to the bucket's lifecycle.
  expect([...aws.uploads.values()].filter(({ key }) => key.includes(exporting.exportId))).toEqual([]);
  await forget(exporting);
});

it("a deleted chat is not in what is written after that", async () => {
  const exporting = await anExport();
  const { owner, subaccountId } = exporting.world;
  aws.before = async (what) => {
    if (what === "PUT part") await call("delete", { token: owner.token, subaccountId, chatId: "chat_0" });
  };
  await work(exporting);
  const [file, { rows }] = [fileOf(exporting)?.toString() ?? "", await shown(exporting)];
  expect([rows, file.includes('"chat_0"'), file.includes('"chat_11"')]).toEqual([11, false, true]);
  await forget(exporting);
});

vi.setConfig({ testTimeout: 60_000 });
