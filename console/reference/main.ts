import bundleUrl from "swagger-ui-dist/swagger-ui-bundle.js?url";
import { type Config, loadConfig } from "../src/config.ts";
import { firstSession } from "../src/session.ts";
import { type OpenApi, withDemo } from "./document.ts";

interface SwaggerUi {
  preauthorizeApiKey(scheme: string, value: string): void;
  specActions: {
    changeParam(operation: [path: string, method: string], name: string, place: string, value: string): void;
  };
}
declare global {
  interface Window {
    SwaggerUIBundle(options: object): SwaggerUi;
  }
}

const state = document.getElementById("state") as HTMLElement;
followTheme();
try {
  const [config] = await Promise.all([loadConfig(), loadScript(bundleUrl)]);
  await show(config);
  state.textContent = "";
} catch (error) {
  state.textContent = error instanceof Error ? error.message : String(error);
}

async function show(config: Config): Promise<void> {
  const response = await fetch(`${config.apiUrl}/openapi.json`);
  if (!response.ok) throw new Error(`The API's description was answered with ${response.status}`);
  const session = firstSession(config);
  const spec = withDemo(await response.json(), {
    apiUrl: config.apiUrl,
    subaccountId: session?.subaccountId,
    agentId: config.local?.demo?.agentIds[0],
  });
  const ui = window.SwaggerUIBundle({
    spec,
    domNode: document.getElementById("reference"),
    deepLinking: true,
    displayRequestDuration: true,
    tryItOutEnabled: true,
    requestSnippetsEnabled: true,
    validatorUrl: null, // it would send the description to another host
    responseInterceptor: (answer: { ok: boolean; url: string; body?: { data?: { chat_id?: string } } }) => {
      const chatId = answer.body?.data?.chat_id;
      if (answer.ok && chatId !== undefined && answer.url.endsWith("/create")) useChat(ui, spec, chatId);
      return answer;
    },
    onComplete: () => setTimeout(() => session && ui.preauthorizeApiKey("token", session.token)),
  });
}

/** Puts the chat that was just created into the other forms. */
function useChat({ specActions }: SwaggerUi, { paths }: OpenApi, chatId: string): void {
  for (const [path, operations] of Object.entries(paths)) {
    if (!path.includes("{chatId}")) continue;
    for (const method of Object.keys(operations)) specActions.changeParam([path, method], "chatId", "path", chatId);
  }
}

/** Swagger UI has one bundle for pages, which is no module. */
function loadScript(url: string): Promise<void> {
  return new Promise((resolve, reject) => {
    const script = document.createElement("script");
    script.src = url;
    script.onload = () => resolve();
    script.onerror = () => reject(new Error("A file of this page cannot be read"));
    document.head.append(script);
  });
}

/** As the console: its choice, or else the system's. */
function followTheme(): void {
  const system = matchMedia("(prefers-color-scheme: dark)");
  const apply = () => {
    const chosen = localStorage.getItem("theme");
    const isDark = chosen === "dark" || (chosen !== "light" && system.matches);
    document.documentElement.classList.toggle("dark-mode", isDark);
  };
  system.addEventListener("change", apply);
  apply();
}
