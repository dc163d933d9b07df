import { createHash } from "node:crypto";
import description from "../docs/openapi.json" with { type: "json" };
import { publicEndpoint } from "../lib/api/chain.ts";
import { route } from "../lib/api/routes/openapi.ts";

const text = JSON.stringify(description);
const etag = `"${createHash("sha256").update(text).digest("base64url")}"`;

/** The API as OpenAPI 3.1, for tools and pages. `npm run openapi` has written it. */
export const handler = publicEndpoint(route).handler(async () => ({ document: { text, etag } }));
