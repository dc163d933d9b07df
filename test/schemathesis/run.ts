import { execFile } from "node:child_process";
import { existsSync } from "node:fs";
import { mkdtemp, readFile, rename, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import type { Document } from "../../dev/openapi/document.ts";

const run = promisify(execFile);

const version = "4.32.5";
const installed = fileURLToPath(new URL(`../../node_modules/.cache/schemathesis-${version}`, import.meta.url));

/**
 * What each answer is held against. Left out are the checks of what an API accepts: ours refuses more than JSON Schema
 * can say, such as blank texts, and ignores unknown fields.
 */
const checks = [
  "not_a_server_error",
  "status_code_conformance",
  "content_type_conformance",
  "response_headers_conformance",
  "response_schema_conformance",
  "unsupported_method",
  "allow_header_conformance",
  "ignored_auth",
  "missing_required_header",
];

interface Settings {
  /** The gateway's URL. */
  url: string;
  document: Document;
  token: string;
  seed: number;
  /** `stateful` follows the links between operations; the others try each operation by itself. */
  phases: readonly ("examples" | "coverage" | "fuzzing" | "stateful")[];
  /** Requests per operation in a phase at most; of the phase stateful, chains of requests. */
  examples: number;
  /** Operations that are left out. */
  without: readonly string[];
}

/** What a run has done. */
interface Report {
  /** How many requests had which operation and status. */
  answers: Record<string, number>;
  /** What schemathesis says of its failures; empty if there was none. */
  failures: string;
}

/** Lets schemathesis make requests of the document, send them, and check the answers. */
export async function schemathesis(settings: Settings): Promise<Report> {
  const { url, document, token, seed, phases, examples, without } = settings;
  await install();
  const folder = await mkdtemp(join(tmpdir(), "scalai-schemathesis-"));
  try {
    const [file, events] = [join(folder, "openapi.json"), join(folder, "events.ndjson")];
    await writeFile(file, JSON.stringify(document));
    const args = [
      ...["run", file, "--url", url, "--header", `Authorization: Bearer ${token}`, "--checks", checks.join()],
      ...["--phases", phases.join(), "--seed", String(seed), "--max-examples", String(examples)],
      ...without.flatMap((name) => ["--exclude-operation-id", name]),
      ...["--continue-on-failure", "--generation-database", "none", "--suppress-health-check", "all"],
      ...["--no-color", "--warnings", "off", "--report", "ndjson", "--report-ndjson-path", events],
    ];
    const env = { ...process.env, PYTHONPATH: installed, PYTHONDONTWRITEBYTECODE: "1" };
    const failures = await run("python3", ["-m", "schemathesis.cli", ...args], { cwd: folder, env }).then(
      () => "",
      ({ stdout, stderr, message }) => `${stdout}${stderr}` || String(message),
    );
    return { answers: answersIn(await readFile(events, "utf8")), failures };
  } finally {
    await rm(folder, { recursive: true });
  }
}

/** Through pip, once, into the cache: pip knows the user's index, proxy and certificates. */
async function install(): Promise<void> {
  if (existsSync(installed)) return;
  const unfinished = `${installed}.${process.pid}`;
  const how = ["--quiet", "--no-input", "--disable-pip-version-check", "--only-binary=:all:", "--target", unfinished];
  await run("python3", ["-m", "pip", "install", ...how, `schemathesis==${version}`]);
  await rename(unfinished, installed);
}

interface Event {
  ScenarioFinished?: {
    recorder: {
      cases: Record<string, { value: { method: string; path: string } }>;
      interactions: Record<string, { response: { status_code: number } | null }>;
    };
  };
}

/** @param events One event a line. */
function answersIn(events: string): Record<string, number> {
  const answers: Record<string, number> = {};
  for (const line of events.trim().split("\n")) {
    const { recorder }: Partial<Event["ScenarioFinished"] & object> =
      (JSON.parse(line) as Event).ScenarioFinished ?? {};
    for (const [id, { response }] of Object.entries(recorder?.interactions ?? {})) {
      const { method, path } = recorder?.cases[id]?.value ?? {};
      const name = `${method} ${path} ${response?.status_code}`;
      answers[name] = (answers[name] ?? 0) + 1;
    }
  }
  return answers;
}
