/**
 * A Retell simulator for one test file that moves the clock: with a shared one, delays, silences and analyses of other
 * files would move too. Import it before anything that reads the configuration.
 */
import { afterAll } from "vitest";
import { startRetellSimulator } from "../../packages/retell-simulator/src/index.ts";

const retell = await startRetellSimulator();
process.env.RETELL_BASE_URL = retell.url;
process.env.TEST_RETELL_CONTROL = retell.control;
afterAll(() => retell.stop());
