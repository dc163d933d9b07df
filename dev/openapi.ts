/** `npm run openapi`: writes docs/openapi.json, which describes the API for tools. */
import { writeFile } from "node:fs/promises";
import { openapi } from "./openapi/document.ts";

const file = new URL("../docs/openapi.json", import.meta.url);

/** The text of docs/openapi.json. */
export const text = () => `${JSON.stringify(openapi(), null, 2)}\n`;

if (import.meta.main) await writeFile(file, text());
