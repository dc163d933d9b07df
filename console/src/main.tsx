import { render } from "preact";
import { App } from "./app.tsx";
import { loadConfig } from "./config.ts";
import { firstSession } from "./session.ts";
import { applyTheme } from "./theme.tsx";

const root = document.getElementById("app") as HTMLElement;
applyTheme();
try {
  const config = await loadConfig();
  render(<App config={config} first={firstSession(config)} />, root);
} catch (error) {
  render(
    <main class="page narrow">
      <h1>The console cannot start</h1>
      <p>{error instanceof Error ? error.message : String(error)}</p>
    </main>,
    root,
  );
}
