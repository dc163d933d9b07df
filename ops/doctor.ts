import { central } from "../lib/platform/mongo.ts";
import { defineCommand } from "./command.ts";
import { type Finding, wrong } from "./doctor/finding.ts";
import { database, legacySecrets, mongo } from "./doctor/mongo.ts";
import { redisAnswers } from "./doctor/redis.ts";
import { account, retellClock } from "./doctor/retell.ts";
import { settings, tokens } from "./doctor/settings.ts";
import { table } from "./table.ts";
import { stageAsFarAsKnown } from "./target.ts";
import { mapAtMost, type Subaccount, subaccountsOf } from "./tenants.ts";

/** Of more subaccounts than this, only those with a fault are listed. */
const listedInFull = 10;
/** Subaccounts that are checked at a time. */
const atATime = 10;
/** Names in front of a fix that several findings share. */
const namesShown = 5;

interface Report {
  findings: Finding[];
  /** By subaccount. */
  ofSubaccounts: { subaccountId: string; findings: Finding[] }[];
}

export const command = defineCommand({
  details: `Writes nothing but a Redis key that expires after ten seconds. Of more than ${listedInFull} subaccounts it lists only those with a fault.`,
  flags: {
    subaccount: { type: "id", description: "check this subaccount alone, even if it is inactive" },
    all: { type: "boolean", description: "list every subaccount" },
    json: { type: "boolean", description: "print every finding as JSON" },
  },
  target: stageAsFarAsKnown,
  async run({ subaccount, all, json }) {
    const report = await examine(subaccount);
    const found = [report.findings, ...report.ofSubaccounts.map(({ findings }) => findings)].flat();
    const faults = found.filter(({ isOk }) => !isOk);
    const counts = { ok: found.length - faults.length, wrong: faults.length };
    if (json) console.log(JSON.stringify({ ...counts, ...report }, null, 2));
    else console.log([listed(report, all), fixes(faults), `${counts.ok} ok, ${counts.wrong} wrong`].join("\n\n"));
    return faults.length === 0;
  },
});

async function examine(subaccountId: string | undefined): Promise<Report> {
  const findings = settings();
  if (!findings[0]?.isOk) return { findings, ofSubaccounts: [] }; // everything else needs them
  findings.push(...(await tokens()), ...(await mongo()), await redisAnswers(), await retellClock());
  if (findings.some(({ what, isOk }) => what === "MongoDB" && !isOk)) return { findings, ofSubaccounts: [] };

  findings.push(await legacySecrets());
  const subaccounts = await subaccountsOf(subaccountId);
  if (subaccounts.length === 0) findings.push(await noSubaccount(subaccountId));
  return { findings, ofSubaccounts: await mapAtMost(atATime, subaccounts, examineOne) };
}

async function examineOne(subaccount: Subaccount) {
  const findings = [...(await database(subaccount)), ...(await account(subaccount.id))];
  return { subaccountId: subaccount.id, findings };
}

async function noSubaccount(id: string | undefined): Promise<Finding> {
  if (id !== undefined) return wrong("subaccount", `${id} does not exist`, "look for it in the collection subaccounts");
  const fix = "does MONGODB_URL name the right database? docs/deploying.md says how to make the first one";
  return wrong("subaccounts", `there is none, or none is active, in ${(await central()).databaseName}`, fix);
}

function listed({ findings, ofSubaccounts }: Report, all: boolean): string {
  const row = ({ what, isOk, detail }: Finding) => [isOk ? "ok" : "WRONG", what, detail];
  const isSummary = !all && ofSubaccounts.length > listedInFull;
  if (!isSummary) return table([findings, ...ofSubaccounts.map((one) => one.findings)].flat().map(row));
  const faulty = ofSubaccounts.filter((one) => one.findings.some(({ isOk }) => !isOk));
  const counted = `${ofSubaccounts.length - faulty.length} of ${ofSubaccounts.length} without a fault`;
  const faults = faulty.flatMap((one) => one.findings.filter(({ isOk }) => !isOk));
  const summary = [faulty.length === 0 ? "ok" : "", "subaccounts", counted];
  return table([...findings.map(row), summary, ...faults.map(row)]);
}

/** What to do, once for all findings that need the same. */
function fixes(faults: Finding[]): string {
  return Array.from(
    Map.groupBy(faults, ({ fix }) => fix),
    ([fix, some]) => {
      const names = some.slice(0, namesShown).map(({ what }) => what);
      const more = some.length > namesShown ? ` and ${some.length - namesShown} more` : "";
      return `${names.join(", ")}${more}: ${fix}`;
    },
  ).join("\n");
}
