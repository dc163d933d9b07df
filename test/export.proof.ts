import { expect, it } from "vitest";
import { pagesOf } from "./support/pdf.ts";
import { aWorld, call } from "./support/world.ts";

const texts = ["Where is my order 1042?", "أين طلبي رقم 1042؟", "我的订单在哪里？", "คำสั่งซื้อของฉันอยู่ที่ไหน", "done 😀"];

/** A chat that is over, with this many messages. */
async function exportedPdf(count: number, content: (index: number) => string) {
  const { db, subaccountId, owner } = await aWorld();
  const messages = Array.from({ length: count }, (_, index) => ({
    ...{ message_id: `m-${index}`, role: index % 2 ? "agent" : "user", content: content(index), internal: {} },
    created_timestamp: 1_792_000_000_000 + index,
  }));
  await db.collection("chats").insertOne({ chat_id: "chat_1", subaccountId, chat_status: "ended", messages });
  return call("export", { subaccountId, chatId: "chat_1", token: owner.token, query: { format: "pdf" } });
}

it("a PDF of 5,000 messages in several scripts has them all, and fits into Lambda's answer", async () => {
  const { status, body, lambdaBytes } = await exportedPdf(
    5_000,
    (index) => `#${index}# ${texts[index % texts.length]}`,
  );
  expect(status).toBe(200);
  expect(lambdaBytes).toBeLessThan(6_000_000);
  const text = (await pagesOf(body)).join(" ");
  const found = new Set(Array.from(text.matchAll(/#\s*(\d+)\s*#/g), ([, number]) => Number(number)));
  expect(found.size).toBe(5_000);
});
