/**
 * A stage of 200 tenants, of which three do not work, each for a cause of its own. What its functions log and count goes
 * to the definitions of the alarms and of the log query, as CloudWatch would take it.
 */
import { ObjectId } from "mongodb";
import { afterAll, expect, it, vi } from "vitest";
import { handler as sweep } from "../functions/sweep.ts";
import { alarms, defaultConcurrencyLimit } from "../infra/alarms.ts";
import { queries } from "../infra/queries.ts";
import { encrypt } from "../lib/platform/crypto.ts";
import { mapAtMost } from "../ops/tenants.ts";
import { goneOff, keyOf, rowsOf, type Sample, samplesOf } from "./support/cloudwatch.ts";
import { logged, metered } from "./support/instance.ts";
import { tool } from "./support/tool.ts";
import { aChatBy, anInstance, aWire, owned, verdict } from "./support/wire.ts";
import { aWorld, central, fault, type Name, type Request, type World } from "./support/world.ts";

vi.setConfig({ testTimeout: 300_000 }); // for a busy machine

const tenants = 200;
const minuteMs = 60_000;
/** The next full hour, so that the alarms on a whole hour see one that is over. */
const hour = Math.ceil(Date.now() / 3_600_000) * 3_600_000;
/** Moves the clock of the functions to so many minutes after the hour, in place of waiting. */
const at = (minutes: number) => vi.useFakeTimers({ toFake: ["Date"], now: hour + minutes * minuteMs });
afterAll(() => {
  vi.useRealTimers();
});

const wire = await aWire();
at(30);
const worlds = await mapAtMost(10, [...Array(tenants)], () => aWorld());
const [refused, sealed, cutOff, ...healthy] = worlds as [World, World, World, ...World[]];
const instance = await anInstance();
expect(await tool("indexes", ["--yes"])).toMatchObject({ code: 0 });

const undecryptable = { $set: { apiKey: "v2.00000000.a.b.c" } };
const accounts = central.collection("retellaccounts");
const accountOf = ({ subaccountId }: World) => ({ subaccountId: new ObjectId(subaccountId) });
await fault(refused, "any", { kind: "status", status: 401, count: 0 });
await accounts.updateOne(accountOf(sealed), undecryptable);
const mongodbUrl = await encrypt("mongodb://user:password@127.0.0.1:9/x", cutOff.subaccountId);
await central.collection("subaccounts").updateOne({ _id: new ObjectId(cutOff.subaccountId) }, { $set: { mongodbUrl } });

const apiId = "an-api";
const watched = alarms({
  stage: "test",
  apiId,
  queueName: "jobs",
  deadLettersName: "dead",
  concurrencyLimit: defaultConcurrencyLimit,
});
const atGateway: Sample[] = [];

/** Sends a request, and counts it as the gateway does. Returns status and code. */
async function asked(name: Name, tenant: World, more: Request = {}) {
  const answer = await instance.call(name, { ...owned(tenant), ...more });
  const counted = ["Count", ...(answer.status >= 500 ? ["5xx"] : [])];
  for (const metric of counted) {
    atGateway.push({ metric: keyOf("AWS/ApiGateway", metric, { ApiId: apiId }), at: Date.now(), value: 1 });
  }
  return verdict(answer);
}
const create = (tenant: World) => asked("create", tenant, { body: { agentId: tenant.agentId } });

/** The alarms that are on at a time, without those on slowness: how fast this machine is, is no question here. */
const onAt = (minutes: number) =>
  watched.filter(({ name }) =>
    goneOff(watched, [...atGateway, ...samplesOf(metered)], hour + minutes * minuteMs)
      .filter((one) => !one.startsWith("slow-"))
      .includes(name),
  );
const namesAt = (minutes: number) => onAt(minutes).map(({ name }) => name);
const pagesAt = (minutes: number) =>
  onAt(minutes)
    .filter(({ severity }) => severity === "page")
    .map(({ name }) => name);

it("three broken tenants set off subaccounts-failing after half an hour, and nothing else, however often their clients ask", async () => {
  const [first, ...others] = healthy.slice(0, 15) as [World, ...World[]];
  const chatId = await aChatBy(instance, first);
  for (let minutes = 32; minutes < 60; minutes += 5) {
    at(minutes);
    const swept = sweep();
    const polled = Promise.all([
      ...[...Array(20)].map(() => create(refused)),
      ...[...Array(5)].flatMap(() => [create(sealed), asked("list", cutOff)]),
    ]);
    const well = await Promise.all([
      ...others.map((tenant) => asked("list", tenant)),
      ...others.slice(0, 5).map(create),
      asked("message", first, { chatId, body: { content: "ping" } }),
    ]);
    expect(new Set(well.map(String))).toEqual(new Set(["200,"]));
    expect(new Set((await polled).map(String))).toEqual(
      new Set(["503,CHAT_CREATION_FAILED", "500,API_KEY_DECRYPTION_ERROR", "503,CONNECTION_FAILED"]),
    );
    expect(await swept).toMatchObject({ subaccounts: tenants, failing: 3 });
  }
  expect(namesAt(55)).toEqual([]);
  expect(namesAt(60)).toEqual(["subaccounts-failing"]);
});

it("the worst subaccounts of the logs are the three, each with its cause, the one that is asked most first", () => {
  const lines = logged.map((line) => JSON.parse(line));
  const named = rowsOf(queries["Worst subaccounts"], lines).map(({ subaccountId, cause }) => [subaccountId, cause]);
  expect(named[0]).toEqual([refused.subaccountId, "account"]);
  expect(named.toSorted()).toEqual(
    [
      [refused.subaccountId, "account"],
      [sealed.subaccountId, "key"],
      [cutOff.subaccountId, "database"],
    ].toSorted(),
  );
});

it("the doctor names the three, each with its cause, in a few lines; with --all --json every one", async () => {
  vi.useRealTimers(); // it compares clocks
  const causes = [
    [refused.subaccountId, `Retell key of ${refused.subaccountId}`, "Retell answers 401"],
    [sealed.subaccountId, `Retell key of ${sealed.subaccountId}`, "API_KEY_DECRYPTION_ERROR"],
    [cutOff.subaccountId, `database of ${cutOff.subaccountId}`, expect.stringContaining("ECONNREFUSED")],
  ];
  const all = await tool("doctor", ["--all", "--json"]);
  const { ofSubaccounts, wrong } = JSON.parse(all.stdout);
  type OfOne = { subaccountId: string; findings: { isOk: boolean; what: string; detail: string }[] };
  const faults = (ofSubaccounts as OfOne[]).flatMap(({ subaccountId, findings }) =>
    findings.filter(({ isOk }) => !isOk).map(({ what, detail }) => [subaccountId, what, detail]),
  );
  expect([all.code, wrong, ofSubaccounts.length]).toEqual([1, 3, tenants]);
  expect(faults.toSorted()).toEqual(causes.toSorted());

  const { stdout } = await tool("doctor");
  const lines = stdout.split("\n");
  expect(lines.filter((line) => line.startsWith("WRONG"))).toHaveLength(3);
  for (const [, what] of causes) expect(lines.filter((line) => line.includes(what))).toHaveLength(2); // with its fix
  expect(stdout).toMatch(/^ +subaccounts +197 of 200 without a fault$/m);
  expect(lines.length).toBeLessThan(25);
  expect([stdout, all.stdout].join()).not.toContain("password@");
});

it("many broken tenants page", async () => {
  await accounts.updateMany({ $or: healthy.slice(-30).map(accountOf) }, undecryptable);
  for (const minutes of [62, 67]) {
    at(minutes);
    await sweep();
  }
  expect(pagesAt(65)).toEqual([]);
  expect(pagesAt(70)).toEqual(["many-subaccounts-failing"]);
});

it("a stage without its central database pages", async () => {
  await wire.mongo.refuse();
  for (const minutes of [72, 77]) {
    at(minutes);
    const answers = await Promise.all(healthy.slice(0, 10).map(create));
    expect(new Set(answers.map(String))).toEqual(new Set(["503,CONNECTION_FAILED"]));
    await expect(sweep()).rejects.toThrow("The sweep failed");
  }
  expect(pagesAt(75)).toEqual(expect.arrayContaining(["mongo-failures", "sweep-not-running"]));
  expect(pagesAt(80)).toEqual(expect.arrayContaining(["error-rate", "mongo-failures", "sweep-not-running"]));
});
