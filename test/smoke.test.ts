import { describe, expect, it } from "vitest";
import { aGateway } from "./support/gateway.ts";
import { linesOf } from "./support/instance.ts";
import { spawned, tool } from "./support/tool.ts";
import { aWorld, control, fault, type World } from "./support/world.ts";

const gateway = await aGateway();

const smoke = ({ subaccountId, agentId, owner }: World, more: string[] = [], url = gateway.url) =>
  spawned("smoke", ["--url", url, "--token", owner.token, "--subaccount", subaccountId, "--agent", agentId, ...more]);
const lastLine = ({ stdout }: { stdout: string }) => stdout.trimEnd().split("\n").at(-1);
/** Without times. */
const rows = (outcome: string, { stdout }: { stdout: string }) =>
  stdout
    .split("\n")
    .filter((line) => line.startsWith(outcome))
    .map((line) =>
      line
        .replace(/ \d+ms/, "")
        .replace(/ +/g, " ")
        .trimEnd(),
    );

describe("npm run ops -- smoke", () => {
  it("finds nothing wrong with the API, and leaves no chat open", async () => {
    const world = await aWorld();
    const ended = await smoke(world);
    expect([rows("FAILED", ended), lastLine(ended), ended.code]).toEqual([[], "25 ok, 0 failed", 0]);
    const { chats } = await control("retell", "GET", `/chats?key=${world.apiKey}`);
    expect(chats.map(({ status }: { status: string }) => status)).toEqual(["ended"]);
    expect(ended.stdout + ended.stderr).not.toContain(world.owner.token);
  });

  it("tries without an agent what costs nothing, and says what it left out; its token may stand in SMOKE_TOKEN", async () => {
    const { subaccountId, owner } = await aWorld();
    const args = ["--url", gateway.url, "--subaccount", subaccountId];
    const ended = await spawned("smoke", args, { SMOKE_TOKEN: owner.token });
    expect([ended.code, lastLine(ended)]).toEqual([0, "14 ok, 0 failed; a whole chat is tried with --agent"]);
  });

  it("judges the origins of a stage by the one it is given, and by none without", async () => {
    const { subaccountId, owner } = await aWorld();
    const own = await aGateway({ corsOrigins: ["https://own.example"] });
    const args = ["--url", own.url, "--token", owner.token, "--subaccount", subaccountId];
    const preflight = async (...more: string[]) => {
      const { stdout } = await spawned("smoke", [...args, ...more]);
      return /(ok|FAILED) +a browser's preflight +\d+ms *(.*)/.exec(stdout)?.slice(1).join(": ");
    };
    expect(await preflight()).toBe("ok: not tested: use --origin to test a page of yours");
    expect(await preflight("--origin", "https://own.example")).toBe("ok: ");
    expect(await preflight("--origin", "https://app.example")).toMatch(
      /^FAILED: the stage does not allow the origin https:\/\/app.example;/,
    );
  });

  it("names what is wrong, with the operationId to look for, and tries nothing that needs it: exit code 1", async () => {
    const answer = { statusCode: 200, headers: { "content-type": "text/html" }, body: "<html>" };
    const broken = await aGateway({ handlers: { end: async () => answer }, corsOrigins: ["https://other.example"] });
    const world = await aWorld();
    const ended = await smoke(world, ["--origin", "https://app.example"], broken.url);
    expect(ended.code).toBe(1);
    const failed = rows("FAILED", ended);
    expect(failed.map((line) => line.replace(/; operationId [0-9a-f-]{36}$/, "; its id"))).toEqual([
      "FAILED a browser's preflight the stage does not allow the origin https://app.example; its id",
      "FAILED end the answer is not in the API's envelope; its id",
    ]);
    expect(rows("skipped", ended)).toEqual([
      "skipped end, repeated needs: end",
      "skipped message, to the ended chat needs: end",
      "skipped transcript, from the cache needs: end",
    ]);
    expect(lastLine(ended)).toBe("20 ok, 2 failed, 3 skipped");
  });

  it("names the request by an id that the log knows", async () => {
    const world = await aWorld();
    await fault(world, "create", { kind: "status", status: 500 });
    const [failed = ""] = rows("FAILED", await smoke(world));
    expect(failed).toMatch(/^FAILED create the answer is 503 CHAT_CREATION_FAILED, expected 200/);
    const [, operationId = ""] = /operationId (\S+)$/.exec(failed) ?? [];
    expect(linesOf(operationId)).toMatchObject([{ operation: "create", status: 503 }]);
  });

  it("fails once for a token that may not enter, and where nobody listens", async () => {
    const world = await aWorld();
    const refused = await smoke({ ...world, owner: world.stranger });
    expect(refused.code).toBe(1);
    expect(rows("FAILED", refused)).toEqual([
      expect.stringMatching(
        /^FAILED the token the answer is 403 PERMISSION_DENIED: the token is not valid for this subaccount/,
      ),
    ]);
    const away = await smoke(world, [], "http://127.0.0.1:9");
    expect([away.code, rows("FAILED", away).length, lastLine(away)]).toEqual([1, 1, "0 ok, 1 failed, 24 skipped"]);
  });

  it("has an end where nobody answers, and then says what it knows", async () => {
    const silent = await aGateway({ handlers: { list: () => new Promise(() => {}) } });
    const ended = await smoke(await aWorld(), ["--seconds", "3"], silent.url);
    expect(rows("ok", ended)).toEqual(["ok health"]);
    expect(rows("FAILED", ended)).toEqual([expect.stringMatching(/^FAILED the token no answer in time; operationId/)]);
    expect(rows("skipped", ended)).toContain("skipped no token the time is up");
  });

  it("says what it needs", async () => {
    for (const args of [["--url", "nowhere"], ["--url", "localhost:3000"], ["--url", gateway.url], ["--odd"]]) {
      const { code, stdout, stderr } = await tool("smoke", args);
      expect([code, stdout]).toEqual([1, ""]);
      expect(stderr.trimEnd().split("\n")).toHaveLength(1);
    }
    const { stderr } = await tool("smoke", ["--url", "localhost:3000", "--token", "t"]);
    expect(stderr).toMatch(/^npm run ops -- smoke: --url must be a URL that begins with http:/);
  });
});
