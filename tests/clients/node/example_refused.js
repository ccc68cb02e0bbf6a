// The browser example in Chromium with a destination that the gateway refuses: the page says why, and goes on saying it.
// Usage: node example_refused.js WEBSOCKET_URL   Prints `ok NAME` after each check.

import assert from "node:assert/strict";
import { fileURLToPath, pathToFileURL } from "node:url";
import { open_page, run_checks } from "./chromium.js";

const [gateway] = process.argv.slice(2);
const file = pathToFileURL(fileURLToPath(new URL("../../../examples/browser/index.html", import.meta.url)));
file.search = new URLSearchParams({ gateway, destination: "/nowhere" }).toString();
const { browser, page, complaints } = await open_page("phone", "file://");

const checks = {
  refused: async () => {
    const closed = page.waitForEvent("websocket").then((socket) => socket.waitForEvent("close", { timeout: 0 }));
    await page.goto(file.href);
    await closed;
    await page.waitForFunction(() => !client.active && client.webSocket === undefined);
    assert.match(await page.textContent("#state"), /^refused: the destination must begin with /);
  },
};
await run_checks(checks, complaints, browser);
