import { useState } from "preact/hooks";

const NAME = "theme";
const themes = ["auto", "light", "dark"] as const;
type Theme = (typeof themes)[number];

const isTheme = (text: string | null): text is Theme => themes.some((theme) => theme === text);

/** Sets the colours that the user has chosen; `auto` follows the system. */
export function applyTheme(theme: Theme = chosen()): void {
  if (theme === "auto") document.documentElement.removeAttribute("data-theme");
  else document.documentElement.dataset.theme = theme;
}

function chosen(): Theme {
  const kept = localStorage.getItem(NAME);
  return isTheme(kept) ? kept : "auto";
}

export function ThemeButton() {
  const [theme, setTheme] = useState(chosen);
  const change = () => {
    const next = themes[(themes.indexOf(theme) + 1) % themes.length] ?? "auto";
    localStorage.setItem(NAME, next);
    applyTheme(next);
    setTheme(next);
  };
  const names = { auto: "System", light: "Light", dark: "Dark" };
  return (
    <button type="button" class="plain" onClick={change} title="Change the colours: system, light, dark">
      Colours: {names[theme]}
    </button>
  );
}
