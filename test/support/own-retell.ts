/**
 * A Retell simulator of the file's own, for tests that move its clock: what is late, silent or analyzed in another
 * file would move along. Imported before anything that reads the configuration.
 */
import { afterAll } from "vitest";
import { startRetellSimulator } from "../../packages/retell-simulator/src/index.ts";

const retell = await startRetellSimulator();
process.env.RETELL_BASE_URL = retell.url;
process.env.TEST_RETELL_CONTROL = retell.control;
afterAll(() => retell.stop());
