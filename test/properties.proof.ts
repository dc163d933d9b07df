/** The tests of properties, with ten times as many runs. */
import "./support/all-runs.ts";
import "./envelope.test.ts";
import "./list-pages.test.ts";
import "./lib/properties.test.ts";
