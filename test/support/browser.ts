import { type Browser, type BrowserContext, chromium } from "playwright-core";
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
