/**
 * A Retell simulator of the file's own, for tests that move its clock: what is late, silent or analyzed in another
 * file would move along. Imported before anything that reads the configuration.
 */
import { afterAll } from "vitest";
import { startRetell } from "../../packages/retell-simulator/src/retell.ts";

const retell = await startRetell();
process.env.RETELL_BASE_URL = retell.url;
process.env.TEST_RETELL_CONTROL = retell.control;
afterAll(() => retell.stop());
