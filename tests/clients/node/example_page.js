// The browser example in Chromium, opened from its file as its README says, with a device that somebody else has started.
// Usage: node example_page.js WEBSOCKET_URL AREA/DEVICE METRIC   Prints `ok NAME` after each check; the device has to be killed after `ok answer`.

import assert from "node:assert/strict";
import { fileURLToPath, pathToFileURL } from "node:url";
import { open_page, run_checks } from "./chromium.js";

const [gateway, name, metric] = process.argv.slice(2);
const file = pathToFileURL(fileURLToPath(new URL("../../../examples/browser/index.html", import.meta.url)));
file.search = new URLSearchParams({ gateway }).toString();
const { browser, page, complaints } = await open_page("desktop", "file://");

/** Waits until the device's row fulfils a condition on its status, its metric's element and the answer. */
const row_shows = (condition) =>
  page.waitForFunction(
    ([name, metric, condition]) => {
      const row = [...document.querySelectorAll("#devices tr")].find((row) => row.cells[0].textContent === name);
      const value = row?.querySelector(`[data-metric="${metric}"]`);
      if (!value) return false;
      const seen = { status: row.dataset.status, value: value.textContent, retained: value.dataset.retained, answer: row.querySelector("output").textContent };
      return new Function("seen", `return ${condition}`)(seen);
    },
    [name, metric, condition],
  );

const checks = {
  connected: async () => {
    await page.goto(file.href);
    await page.waitForFunction(() => document.getElementById("state").textContent.startsWith("connected"));
  },
  device: () => row_shows(`seen.status === "online" && /^${metric} [0-9.]+ .+$/.test(seen.value)`),
  live: () => row_shows(`seen.retained === "false"`),
  answer: async () => {
    await page.locator("tr", { hasText: name }).getByRole("button").click();
    await row_shows(`/answered in [0-9]+ ms: [{]/.test(seen.answer)`);
    assert.ok(!(await page.textContent("#devices")).includes("unknown command"));
  },
  offline: () => row_shows(`seen.status === "offline"`),
};
await run_checks(checks, complaints, browser);
