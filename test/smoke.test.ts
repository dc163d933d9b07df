import { describe, expect, it } from "vitest";
import { aGateway } from "./support/gateway.ts";
import { tool } from "./support/tool.ts";
import { aWorld, control, type World } from "./support/world.ts";

const gateway = await aGateway();

const smoke = ({ subaccountId, agentId, owner }: World, more: string[] = [], url = gateway.url) =>
  tool("smoke.ts", ["--url", url, "--token", owner.token, "--subaccount", subaccountId, "--agent", agentId, ...more]);
const lastLine = ({ stdout }: { stdout: string }) => stdout.trimEnd().split("\n").at(-1);
const failures = ({ stdout }: { stdout: string }) => stdout.split("\n").filter((line) => line.startsWith("FAILED"));

describe("npm run smoke", () => {
  it("finds nothing wrong with the API, and leaves no chat open", async () => {
    const world = await aWorld();
    const ended = await smoke(world);
    expect([failures(ended), lastLine(ended), ended.code]).toEqual([[], "24 ok, 0 failed", 0]);
    const { chats } = await control("retell", "GET", `/chats?key=${world.apiKey}`);
    expect(chats.map(({ status }: { status: string }) => status)).toEqual(["ended"]);
    expect(ended.stdout + ended.stderr).not.toContain(world.owner.token);
  });

  it("tries without an agent what costs nothing, and says what it left out", async () => {
    const { subaccountId, owner } = await aWorld();
    const ended = await tool("smoke.ts", ["--url", gateway.url, "--token", owner.token, "--subaccount", subaccountId]);
    expect([ended.code, lastLine(ended)]).toEqual([0, "13 ok, 0 failed; a chat's life is tried with --agent"]);
  });

  it("judges the origins of a stage by the one it is given, and by none without", async () => {
    const { subaccountId, owner } = await aWorld();
    const own = await aGateway({ corsOrigins: ["https://own.example"] });
    const args = ["--url", own.url, "--token", owner.token, "--subaccount", subaccountId];
    const preflight = async (...more: string[]) => {
      const { stdout } = await tool("smoke.ts", [...args, ...more]);
      return /(ok|FAILED) +a browser's preflight +\d+ms *(.*)/.exec(stdout)?.slice(1).join(": ");
    };
    expect(await preflight()).toBe("ok: whether your pages may call is tried with --origin");
    expect(await preflight("--origin", "https://own.example")).toBe("ok: ");
    expect(await preflight("--origin", "https://app.example")).toBe("FAILED: does not allow https://app.example");
  });

  it("names what is wrong: exit code 1", async () => {
    const answer = { statusCode: 200, headers: { "content-type": "text/html" }, body: "<html>" };
    const broken = await aGateway({ handlers: { end: async () => answer }, corsOrigins: ["https://other.example"] });
    const world = await aWorld();
    const ended = await smoke(world, ["--origin", "https://app.example"], broken.url);
    expect(ended.code).toBe(1);
    expect(failures(ended).map((line) => line.replace(/\d+ms/, "").replace(/ +/g, " "))).toEqual([
      "FAILED a browser's preflight does not allow https://app.example",
      "FAILED end is not in the envelope",
      "FAILED end, repeated is not in the envelope",
      "FAILED message, to the ended chat answered 200, not 409 CHAT_ENDED",
      "FAILED transcript, from the cache meta.cached is false, not true",
    ]);
  });

  it("fails for a token that may not enter, and where nobody listens", async () => {
    const world = await aWorld();
    const stranger = { ...world, owner: world.stranger };
    const refused = await smoke(stranger);
    expect(refused.code).toBe(1);
    expect(refused.stdout).toMatch(/FAILED +create +\d+ms +answered 403 PERMISSION_DENIED, not 200/);
    const away = await smoke(world, [], "http://127.0.0.1:9");
    expect([away.code, failures(away).length]).toEqual([1, 24]);
  });

  it("says what it needs", async () => {
    expect(await tool("smoke.ts", ["--url", "nowhere"])).toMatchObject({
      code: 1,
      stderr: expect.stringContaining("Usage: npm run smoke"),
    });
  });
});
