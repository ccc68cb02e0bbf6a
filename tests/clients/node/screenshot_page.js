// Makes a picture of the demo's page, as in docs/demo.png, with one machine open.
// Usage: node screenshot_page.js PAGE_URL AREA/MACHINE light|dark FILE.png

import { open_page, patience } from "./chromium.js";

const [url, machine, colorScheme, file] = process.argv.slice(2);
const { browser, page, complaints } = await open_page("desktop", new URL(url).origin, { colorScheme });
await page.goto(`${url}#${machine}`);
await page.locator("#detail-name").waitFor();
await page.locator('[data-command="report"]').click();
await page.locator(".answers li").waitFor();
// Charts want some points; a minute of them looks like a plant at work.
const minute = () => new Promise((resolve) => setTimeout(() => resolve(true), 60_000));
await page.waitForFunction(minute, undefined, { timeout: patience + 60_000 });
await page.mouse.move(0, 0);
await page.screenshot({ path: file });
await browser.close();
for (const complaint of complaints) console.log(complaint);
