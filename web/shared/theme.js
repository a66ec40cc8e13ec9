// Light, dark, or as the system has it. Loaded before the page is drawn, so that nobody sees the wrong one first.
"use strict";
(() => {
  const KEY = "tickcast.theme";
  const THEMES = ["auto", "light", "dark"];
  // Storage throws where it is forbidden; the choice then lasts as long as the page.
  const kept = () => {
    try {
      return localStorage.getItem(KEY);
    } catch {
      return null;
    }
  };
  const keep = (theme) => {
    try {
      localStorage.setItem(KEY, theme);
    } catch {
      // As said.
    }
  };
  let theme = THEMES.includes(kept()) ? kept() : "auto";
  const show = () => {
    if (theme === "auto") delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = theme;
    const button = document.getElementById("theme");
    if (button) button.textContent = `Theme: ${theme}`;
  };
  show();
  addEventListener("DOMContentLoaded", () => {
    show();
    document.getElementById("theme").addEventListener("click", () => {
      theme = THEMES[(THEMES.indexOf(theme) + 1) % THEMES.length];
      keep(theme);
      show();
    });
  });
})();
