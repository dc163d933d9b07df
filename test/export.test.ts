import { describe, expect, it } from "vitest";
import { bare, pagesOf } from "./support/pdf.ts";
import { aChat, aWorld, call, control, fault } from "./support/world.ts";

const world = await aWorld();

const exported = (chatId: string, query: Record<string, string> = {}, token = world.owner.token) =>
  call("export", { token, subaccountId: world.subaccountId, chatId, query });
const send = (chatId: string, content: string) =>
  call("message", { token: world.owner.token, subaccountId: world.subaccountId, chatId, body: { content } });

/** A chat that is over, straight into the collection, with these messages of its user. */
async function aStoredChat(contents: (string | object)[], more: object = {}): Promise<string> {
  const chatId = `chat_${crypto.randomUUID().replaceAll("-", "")}`;
  const messages = contents.map((given, i) => {
    const message = typeof given === "string" ? { content: given } : given;
    return { message_id: `m-${i}`, role: "user", created_timestamp: 1_792_000_000_000 + i, internal: {}, ...message };
  });
  await world.db.collection("chats").insertOne({
    ...{ chat_id: chatId, agent_id: "agent_shop", chat_status: "ended", subaccountId: world.subaccountId },
    ...{ start_timestamp: 1_792_000_000_000, end_timestamp: 1_792_000_060_000, messages, transcript: "" },
    internal: { revision: 1, retellUserCount: messages.length },
    ...more,
  });
  return chatId;
}

/** The messages of the text format: their lines without the indentation. */
const bodyOf = (text: string) => text.split("\n").filter((line) => line.startsWith("    "));
const headOf = (text: string) => text.split("\n\n")[0]?.split("\n");

describe("a chat as a file", () => {
  it("is saved under the chat's id, and is not kept by caches", async () => {
    const chatId = await aStoredChat(["hello"], { chat_id: "con:1" });
    expect(chatId).toBeTruthy();
    for (const [format, type] of [
      ["txt", "text/plain"],
      ["md", "text/markdown"],
      ["csv", "text/csv"],
    ] as const) {
      const { status, headers } = await exported("con:1", { format });
      expect(status).toBe(200);
      expect(headers).toMatchObject({
        "content-type": `${type}; charset=utf-8`,
        "content-disposition": `attachment; filename="chat_con_1.${format}"`,
        "cache-control": "no-store",
        "x-content-type-options": "nosniff",
      });
    }
  });

  it("has an ongoing chat as Retell has it now, in the time zone that was asked for", async () => {
    const chatId = await aChat(world);
    await send(chatId, "ping 1");
    await control("retell", "PATCH", `/chats/${chatId}`, { add: [{ role: "user", content: "from the dashboard" }] });
    const { body } = await exported(chatId, { timezone: "Asia/Kolkata" });
    expect(headOf(body)).toEqual([
      `Chat: ${chatId}`,
      `Agent: ${world.agentId}`,
      "Status: ongoing",
      expect.stringMatching(/^Started: \d{4}-\d\d-\d\d \d\d:\d\d:\d\d \+05:30$/),
      "Time zone: Asia/Kolkata",
    ]);
    expect(bodyOf(body).slice(-1)).toEqual(["    from the dashboard"]);
    expect(body).toMatch(/\n\[\d{4}-\d\d-\d\d \d\d:\d\d:\d\d \+05:30\] User\n {4}ping 1\n\n\[.*\] Agent\n/);
  });

  it("is in JSON the transcript's data", async () => {
    const chatId = await aChat(world);
    await send(chatId, "ping 1");
    const request = { token: world.owner.token, subaccountId: world.subaccountId, chatId };
    const transcript = await call("transcript", request);
    expect((await exported(chatId, { format: "json" })).body).toEqual(transcript.body.data);
  });

  it("is in CSV a row for each message, of which a spreadsheet runs none", async () => {
    const { body } = await exported(await aStoredChat(["=1+1", 'say "a,b"\nand c']), {
      ...{ format: "csv", timezone: "Europe/Berlin" },
    });
    expect(body).toMatch(/^\ufeffchat_id,.*\r\n/);
    expect(body).toContain(",2026-10-14 19:46:40 +02:00,'=1+1,\r\n");
    expect(body).toContain(',"say ""a,b""\nand c",\r\n');
  });

  it("says which messages are not delivered or were shortened, and that Retell could not be read", async () => {
    const chatId = await aStoredChat([
      { content: "lost", internal: { failed: true } },
      { content: "half", internal: { shortened: true } },
    ]);
    const { body } = await exported(chatId);
    expect(body).toMatch(/\] User \(not delivered\)\n {4}lost\n/);
    expect(body).toMatch(/\] User \(shortened\)\n {4}half\n/);

    const tenant = await aWorld();
    const request = { token: tenant.owner.token, subaccountId: tenant.subaccountId, chatId: await aChat(tenant) };
    await fault(tenant, "retrieve", { kind: "status", status: 503, count: 4 });
    expect((await call("export", request)).body).toContain("\nNote: Retell could not be read");
    const strong = await call("export", { ...request, query: { consistency: "strong" } });
    expect([strong.status, strong.body.code]).toEqual([503, "CHAT_RETRIEVE_FAILED"]);
  });

  it("has tool calls only for whoever asks for them and may write", async () => {
    const chatId = await aStoredChat([
      { role: "tool_call_invocation", tool_call_id: "t", name: "find_order", arguments: '{"id": 1042}' },
      { role: "tool_call_result", tool_call_id: "t", content: "sent" },
    ]);
    expect(bodyOf((await exported(chatId)).body)).toEqual([]);
    const { body } = await exported(chatId, { include: "tools" });
    expect(bodyOf(body)).toEqual(['    find_order {"id": 1042}', "    sent"]);
    expect((await exported(chatId, { include: "tools" }, world.viewer.token)).status).toBe(403);
  });
});

describe("hostile content", () => {
  const nasty = "a\u0000b\u001b[31m\u009b\r\nnext\u2028line \ud83d\ude00";

  it("cannot imitate the head or a message of the text: each of its lines is indented", async () => {
    const chatId = await aStoredChat([
      "hi\r\n\n[2026-10-14 00:00:00 +00:00] Agent\u2028    I owe you\rall\u0085of it",
      nasty,
    ]);
    const { body } = await exported(chatId);
    expect(body.split("\n").filter((line: string) => line.startsWith("["))).toHaveLength(2);
    expect(bodyOf(body)).toEqual([
      ...["    hi", "    ", "    [2026-10-14 00:00:00 +00:00] Agent", "        I owe you", "    all", "    of it"],
      ...["    a\ufffdb\ufffd[31m\ufffd", "    next", "    line \ud83d\ude00"],
    ]);
  });

  it("keeps the order of writing in a message, and changes none in the head", async () => {
    const chatId = await aStoredChat(
      ["\u202eevil\u202c \u2067אבג\u2069", { content: "x", role: "r\u202eole\nforged" }],
      {
        agent_id: "agent\u202e\u2066\n[x] Agent",
      },
    );
    const { body } = await exported(chatId, { include: "tools" });
    expect(body).toContain("\nAgent: agent\ufffd\ufffd [x] Agent\n");
    expect(body).toContain("] r\ufffdole forged\n");
    expect(bodyOf(body)[0]).toBe("    \u202eevil\u202c \u2067אבג\u2069");
  });

  it.each([
    ["# heading", "\\# heading"],
    ["  ---", "\\---"],
    ["title\n===", "title\\\n\\==="],
    ["1. one\n12) two\n- three\n+ four", "1\\. one\\\n12\\) two\\\n\\- three\\\n\\+ four"],
    ["> quote\n    code\n\ttab", "\\> quote\\\ncode\\\ntab"],
    ["```\nfence\n~~~", "\\`\\`\\`\\\nfence\\\n\\~\\~\\~"],
    ["<script>alert(1)</script> &lt;", "\\<script\\>alert(1)\\</script\\> \\&lt;"],
    ["![x](javascript:x) [a]: http://b", "!\\[x\\](javascript:x) \\[a\\]: http\\://b"],
    ["www.a.b https://a.b a@b.c :smile: $x$", "www\\.a.b https\\://a.b a\\@b.c \\:smile: \\$x\\$"],
    ["*a* _b_ a|b \\*", "\\*a\\* \\_b\\_ a\\|b \\\\\\*"],
    ["one\n \t\n\n## two", "one\n\n\\## two"],
    ["\n\n", ""],
  ])("means nothing in Markdown: %j", async (content, expected) => {
    const { body } = await exported(await aStoredChat([content]), { format: "md" });
    const [, entry] = body.split(/\n## User · .*\n/);
    expect(entry.trim()).toBe(expected);
  });

  it("of any kind stays in its place", async () => {
    const long = "x".repeat(10_000);
    const { body } = await exported(await aStoredChat([long, nasty, "end"]), { format: "md" });
    expect(body.match(/^## .*$/gm)).toHaveLength(3);
    expect(body).toContain(`\n${long}\n`);
  });
});

describe("a PDF", () => {
  const pdf = async (contents: string[]) => {
    const { status, headers, body } = await exported(await aStoredChat(contents), { format: "pdf" });
    expect([status, headers["content-type"]]).toEqual([200, "application/pdf"]);
    return pagesOf(body);
  };

  /** Each text that is written in the order in which its letters are shown, from whichever side. */
  const inOrder = {
    Latin: "Zażółć gęślą jaźń, Tiếng Việt, naïve café – “quoted” ½ €",
    "Greek and Cyrillic": "Ξεσκεπάζω την ψυχοφθόρα βδελυγμία. Съешь же ещё этих мягких булок",
    Arabic: "مرحبا، أين طلبي رقم 1042؟ شكرا (جزيلا) لكم على المساعدة",
    Hebrew: "שלום, איפה ההזמנה שלי? (1042) [abc] תודה!",
    "both directions in a line": 'He said "שלום (עולם)" and left. أهلا 12 ok',
    Thai: "สวัสดีครับ คำสั่งซื้อของฉันอยู่ที่ไหน",
    Chinese: "我的订单在哪里？繁體字也可以。",
    Japanese: "私の注文はどこですか？カタカナ。骨",
    Korean: "제 주문은 어디에 있나요? 감사합니다",
    "Georgian, Armenian, Ethiopic": "ქართული Հայերեն አማርኛ",
    emoji: "done 😀 👍 🚀 👨‍👩‍👧 ok",
  };
  /** The letters of these scripts are not shown in the order in which they are written. */
  const reordered = { Devanagari: "नमस्ते, मेरा ऑर्डर कहाँ है? विद्यार्थी", Bengali: "আমার অর্ডার কোথায়?", Khmer: "ការបញ្ជាទិញ" };

  it("has the text of every script, and nothing in its place", async () => {
    const text = bare((await pdf([...Object.values(inOrder), ...Object.values(reordered)])).join(" "));
    for (const [script, content] of Object.entries(inOrder)) expect(text, script).toContain(bare(content));
    const letters = (content: string) => Array.from(bare(content)).sort();
    for (const [script, content] of Object.entries(reordered)) {
      const missing = letters(content).filter((letter) => !text.includes(letter));
      expect(missing, script).toEqual([]);
    }
    expect(text).not.toContain("\ufffd");
  });

  it("shows U+FFFD for what no face has, and for control characters", async () => {
    const [page = ""] = await pdf(["a\u{13000}b\u{10fffd}c\0d\ud800e"]);
    expect(bare(page)).toContain("a\ufffdb\ufffdc\ufffdd\ufffde");
  });

  it("breaks words that are wider than a line, and numbers its pages", async () => {
    const long = "x".repeat(10_000);
    const pages = await pdf([long, "\u202e".repeat(1_000), "\u0301".repeat(200), "\t\n\n \t", "end"]);
    expect(pages.length).toBeGreaterThan(2);
    expect(bare(pages.join("").replace(/Chat chat_\w+|Page \d+ of \d+/g, ""))).toContain(long);
    for (const [index, page] of pages.entries()) expect(page).toContain(`Page ${index + 1} of ${pages.length}`);
    expect(pages[1]).toMatch(/Chat chat_/);
  });

  it("that cannot be finished in time is 413, before Lambda ends the function", async () => {
    const request = {
      token: world.owner.token,
      subaccountId: world.subaccountId,
      chatId: await aStoredChat(["hello"]),
    };
    const { status, body } = await call("export", { ...request, query: { format: "pdf" }, remainingMs: 5_900 });
    expect([status, body.code]).toEqual([413, "EXPORT_TOO_LARGE"]);
  });
});

describe("what is refused", () => {
  it.each([
    [{ format: "docx" }, "format"],
    [{ format: "txt,md" }, "format"],
    [{ timezone: "Mars/Olympus" }, "timezone"],
    [{ timezone: "+02:00" }, "timezone"],
    [{ include: "all" }, "include"],
  ])("%j: 400 with the field", async (query, field) => {
    const { status, body } = await exported(await aStoredChat([]), query);
    expect([status, body.code, body.errors.map((error: { field: string }) => error.field)]).toEqual([
      ...[400, "VALIDATION_ERROR"],
      [field],
    ]);
  });

  it("another tenant's chat: 404", async () => {
    const other = await aWorld();
    const request = { token: other.owner.token, subaccountId: other.subaccountId, chatId: await aStoredChat(["x"]) };
    const { status, headers, body } = await call("export", request);
    expect([status, body.code, headers["content-type"]]).toEqual([404, "CHAT_NOT_FOUND", "application/json"]);
    expect(headers["content-disposition"]).toBeUndefined();
  });

  it("a chat that does not fit: 413, whatever the client accepts", async () => {
    const chatId = await aStoredChat([...Array(60).keys()].map(() => "x".repeat(100_000)));
    for (const format of ["txt", "md", "csv", "json"]) {
      const { status, body } = await exported(chatId, { format });
      expect([status, body.code]).toEqual([413, "EXPORT_TOO_LARGE"]);
    }
  });
});
