import { readFile } from "node:fs/promises";
import { type Browser, type BrowserContext, chromium, type Page } from "playwright-core";
import { afterAll, onTestFinished } from "vitest";

let launched: Promise<Browser> | undefined;
afterAll(async () => (await launched)?.close());

/** Chromium without a window: Debian's, or what CHROMIUM names. One for all tests of a file. */
function browser(): Promise<Browser> {
  const executablePath = process.env.CHROMIUM ?? "/usr/bin/chromium";
  // Root has no sandbox; the pages are our own.
  launched ??= chromium.launch({ executablePath, args: ["--no-sandbox"] });
  return launched;
}

/** A context of its own for one test: cookies, storage and cache are empty. */
export async function aBrowserContext(options: Parameters<Browser["newContext"]>[0] = {}): Promise<BrowserContext> {
  const context = await (await browser()).newContext(options);
  onTestFinished(() => context.close());
  return context;
}

/**
 * What a page shows that breaks a rule of WCAG 2.2 AA or a practice that axe recommends: rule, element and reason. The
 * context needs `bypassCSP`.
 */
export async function accessibilityProblems(page: Page): Promise<string[]> {
  await page.evaluate(await readFile(new URL("../../node_modules/axe-core/axe.min.js", import.meta.url), "utf8"));
  const { violations } = await page.evaluate<AxeReport>("axe.run(document)");
  return violations.flatMap(({ id, nodes }) =>
    nodes.map(({ html, failureSummary }) => `${id}: ${html} ${failureSummary}`),
  );
}

interface AxeReport {
  violations: { id: string; nodes: { html: string; failureSummary?: string }[] }[];
}

/** How wide the page's content is, and the window, in CSS pixels. */
export const sizes = (page: Page) =>
  page.evaluate<{ content: number; screen: number }>(
    "({ content: document.documentElement.scrollWidth, screen: innerWidth })",
  );
