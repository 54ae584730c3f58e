/** Dark or light: as the system has it, until the button is pressed. */
import type { Theme } from "./colours.js";
import { element } from "./page.js";

const KEY = "sordino-theme";

/** Call with the theme now and whenever it changes. */
export function followTheme(call: (theme: Theme) => void): void {
  const light = matchMedia("(prefers-color-scheme: light)");
  const button = element<HTMLButtonElement>("theme");
  const apply = (): void => {
    const chosen = localStorage.getItem(KEY) as Theme | null;
    const theme = chosen ?? (light.matches ? "light" : "dark");
    document.documentElement.dataset.theme = theme;
    button.ariaLabel = theme === "dark" ? "Light colours" : "Dark colours";
    call(theme);
  };
  light.addEventListener("change", apply);
  button.addEventListener("click", () => {
    const now = document.documentElement.dataset.theme;
    localStorage.setItem(KEY, now === "dark" ? "light" : "dark");
    apply();
  });
  apply();
}
