// Light and dark: the system's choice, unless a person switched. Runs before the page is drawn.

const THEMES = { system: "System", light: "Light", dark: "Dark" };
let theme = stored("theme") in THEMES ? stored("theme") : "system";

function applyTheme() {
  const dark = theme === "dark" || (theme === "system" && matchMedia("(prefers-color-scheme: dark)").matches);
  document.documentElement.dataset.theme = dark ? "dark" : "light";
}

function startThemeSwitch() {
  const button = byId("theme-switch");
  const label = () => button.replaceChildren(`Theme: ${THEMES[theme]}`);
  button.addEventListener("click", () => {
    const names = Object.keys(THEMES);
    theme = names[(names.indexOf(theme) + 1) % names.length];
    store("theme", theme);
    applyTheme();
    label();
  });
  label();
}

applyTheme();
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", applyTheme);
