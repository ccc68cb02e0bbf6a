// A page in Debian's Chromium, without a window, that remembers everything a careful page does not do.

import { existsSync } from "node:fs";
import { delimiter, join } from "node:path";
import { chromium } from "playwright-core";

/** How long one thing may take, in milliseconds. Generous, because a busy machine is no bug. */
export const patience = 50_000;

export const flags = [
  "--no-sandbox",
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
];

const devices = {
  desktop: { viewport: { width: 1280, height: 800 } },
  phone: { viewport: { width: 390, height: 844 }, deviceScaleFactor: 2, isMobile: true, hasTouch: true },
};

export function executable() {
  const folders = process.env.PATH.split(delimiter);
  const found = folders.map((folder) => join(folder, "chromium")).find((path) => existsSync(path));
  if (found === undefined) throw new Error("chromium is not installed; ./scripts/test installs what the tests need");
  return found;
}

/**
 * A new page on a "desktop" or a "phone", with an empty profile. `complaints` collects errors of scripts, of the console, of the content
 * security policy, failed requests, and requests to anybody but `origin`.
 */
export async function open_page(device, origin, options = {}) {
  const browser = await chromium.launch({ executablePath: executable(), headless: true, args: flags, timeout: patience });
  const context = await browser.newContext({ ...devices[device], ...options });
  const page = await context.newPage();
  page.setDefaultTimeout(patience);
  const complaints = [];
  page.on("pageerror", (error) => complaints.push(`script: ${error.stack}`));
  page.on("console", (message) => {
    if (["error", "warning"].includes(message.type())) complaints.push(`console: ${message.text()}`);
  });
  page.on("requestfailed", (request) => complaints.push(`request: ${request.url()} ${request.failure()?.errorText}`));
  page.on("request", (request) => {
    if (![origin, "data:"].some((start) => request.url().startsWith(start))) complaints.push(`request to somebody else: ${request.url()}`);
  });
  return { browser, page, complaints };
}

/** Fails when a check takes longer than any check may: what waits for a page's own promise has no other limit. */
function too_late() {
  return new Promise((_, reject) => setTimeout(() => reject(new Error("too late")), patience + 5000).unref());
}

/** Runs one check after the other; prints `ok NAME` for each, and ends the program with 1 and a sentence at the first that fails. */
export async function run_checks(checks, complaints, browser) {
  try {
    for (const [name, check] of Object.entries(checks)) {
      await Promise.race([check(), too_late()]).catch((error) => {
        throw new Error(`${name}: ${error.stack}; ${complaints.join("; ")}`);
      });
      if (complaints.length > 0) throw new Error(`${name}: the page complains: ${complaints.join("; ")}`);
      console.log("ok", name);
    }
  } catch (error) {
    console.log("failed", error.message);
    process.exitCode = 1;
  } finally {
    await browser.close();
  }
}
