// The page of `tidegate demo` in Chromium, with a device of MQTT.js that dies when this program wants it to.
// Usage: node demo_page.js PAGE_URL MQTT_URL desktop|phone DEVICES   Prints `ok NAME` after each check.

import assert from "node:assert/strict";
import mqtt from "mqtt";
import { open_page, run_checks } from "./chromium.js";

const [url, mqtt_url, device, devices] = process.argv.slice(2);
const { browser, page, complaints } = await open_page(device, new URL(url).origin);
const probe_tile = page.locator('.tile[data-key="test/probe"]');

/** A device of the plant's area `test`, with a will like all the others. */
async function connect_probe() {
  const topic = "plant/test/probe/status";
  const will = { topic, payload: Buffer.from("offline"), qos: 1, retain: true };
  const probe = await mqtt.connectAsync(mqtt_url, { protocolVersion: 5, reconnectPeriod: 0, will });
  probe.on("error", () => {});
  await probe.publishAsync(topic, "online", { qos: 1, retain: true });
  return probe;
}

const reading = (value) => JSON.stringify({ value, unit: "°C", at: Date.now() });
const wait_for = (condition, argument) => page.waitForFunction(condition, argument);
const tile_is = (key, name, wanted) =>
  wait_for(([key, name, wanted]) => document.querySelector(`.tile[data-key="${key}"]`)?.dataset[name] === wanted, [key, name, wanted]);
const tile_shows = (key, text) =>
  wait_for(([key, text]) => document.querySelector(`.tile[data-key="${key}"] .tile-value`)?.textContent === text, [key, text]);
const link_is = (phase) => wait_for((phase) => document.getElementById("link").dataset.phase === phase, phase);
const badge_is = (lost) => wait_for((lost) => (document.querySelector(".badge")?.dataset.status === "lost") === lost, lost);
const press = (locator) => (device === "phone" ? locator.tap() : locator.click());

/** The values of many tiles are others than they were. */
async function values_move() {
  const read = () => [...document.querySelectorAll(".tile-value")].map((value) => value.textContent);
  const before = await page.evaluate(read);
  await wait_for((before) => {
    const now = [...document.querySelectorAll(".tile-value")];
    return now.filter((value, index) => value.textContent !== before[index]).length >= 5;
  }, before);
}

let probe = await connect_probe();
await probe.publishAsync("plant/test/probe/temperature", reading(12.34), { qos: 1, retain: true });

const checks = {
  "every machine appears": async () => {
    await page.goto(url);
    await link_is("live");
    await wait_for((count) => document.querySelectorAll(".tile").length === count, Number(devices) + 1);
    await wait_for((count) => document.querySelector('[data-filter="all"] b').textContent === String(count), Number(devices) + 1);
  },
  "a retained value is there at once, and marked": async () => {
    await probe_tile.scrollIntoViewIfNeeded();
    await tile_shows("test/probe", "12.3°C");
    await tile_is("test/probe", "retained", "true");
  },
  "live values move": async () => {
    await probe.publishAsync("plant/test/probe/temperature", reading(56.78), { qos: 1, retain: true });
    await tile_shows("test/probe", "56.8°C");
    await tile_is("test/probe", "retained", "false");
    await page.evaluate(() => scrollTo(0, 0));
    await values_move();
  },
  "a device that dies turns grey, and back when it returns": async () => {
    await tile_is("test/probe", "status", "normal");
    probe.stream.destroy();
    await tile_is("test/probe", "status", "lost");
    probe = await connect_probe();
    await tile_is("test/probe", "status", "normal");
  },
  "a command shows its answer": async () => {
    await press(page.locator('.tile[data-key^="assembly/"]').first());
    await press(page.locator('[data-command="report"]'));
    const answer = page.locator(".answers li").first();
    await answer.waitFor();
    assert.equal(await answer.getAttribute("data-outcome"), "answered", await answer.textContent());
    assert.match(await answer.textContent(), /^Ask for a report: answered in .*s\{.*"load":/);
  },
  "charts draw the machine that is looked at": async () => {
    const is_drawn = () => {
      const canvas = document.querySelector(".metric canvas");
      // Read from a copy: the browser complains about a canvas of the page that is read again and again.
      const copy = new OffscreenCanvas(canvas.width, canvas.height).getContext("2d", { willReadFrequently: true });
      copy.drawImage(canvas, 0, 0);
      return copy.getImageData(0, 0, canvas.width, canvas.height).data.some((byte) => byte !== 0);
    };
    await wait_for(is_drawn);
    assert.equal(await page.locator(".metric").count(), 4);
  },
  "a machine whose link is cut by command is lost, and comes back": async () => {
    await press(page.locator('[data-command="cut-link"]'));
    await badge_is(true);
    await badge_is(false);
  },
  "a machine that is away is offline, for its charts and for commands": async () => {
    await page.evaluate(() => (location.hash = "test/probe"));
    await page.locator("#detail-name", { hasText: "probe" }).waitFor();
    await press(page.locator('[data-command="report"]'));
    await page.locator(".waiting li", { hasText: "Ask for a report: waiting for an answer" }).waitFor();
    probe.stream.destroy();
    await badge_is(true);
    await page.locator(".metric-note", { hasText: /^offline · measured .* ago$/ }).waitFor();
    await press(page.locator('[data-command="repair"]'));
    await page.locator(".answers li", { hasText: "Repair: not sent, it is offline" }).waitFor();
    probe = await connect_probe();
    await badge_is(false);
    await page.goBack();
    await page.locator("#detail-name", { hasNotText: "probe" }).waitFor();
  },
  "the keyboard closes a machine and is back on its tile": async () => {
    await page.keyboard.press("Escape");
    await page.locator("#detail").waitFor({ state: "hidden" });
    assert.match(await page.evaluate(() => document.activeElement.dataset.key), /^assembly\//);
    await page.keyboard.press("Enter");
    await page.locator("#detail-name").waitFor();
    await page.goBack();
    await page.locator("#detail").waitFor({ state: "hidden" });
  },
  "filters show what they say": async () => {
    await page.locator("#search").fill("probe");
    await wait_for(() => document.querySelectorAll(".tiles li:not([hidden])").length === 1);
    await press(page.locator('[data-filter="lost"]'));
    await wait_for(() => [...document.querySelectorAll(".tiles li")].every((item) => item.hidden));
    await page.locator("#empty", { hasText: "No machine matches." }).waitFor();
    await page.locator("#search").fill("");
    await press(page.locator('[data-filter="all"]'));
    await wait_for(() => [...document.querySelectorAll(".tiles li")].every((item) => !item.hidden));
    await page.locator("#empty").waitFor({ state: "hidden" });
  },
  "nothing is wider than the screen": async () => {
    const [content, screen] = await page.evaluate(() => [document.scrollingElement.scrollWidth, innerWidth]);
    assert.ok(content <= screen, `${content} px on a screen of ${screen}`);
  },
  "a connection that is cut goes on where it was": async () => {
    // Every phase and every note, because a page on a busy machine may have come and gone before somebody looks.
    await page.evaluate(() => {
      window.seen = [];
      const link = document.getElementById("link");
      new MutationObserver(() => seen.push(link.dataset.phase)).observe(link, { attributeFilter: ["data-phase"] });
      const added = (changes) => changes.flatMap((change) => [...change.addedNodes]).forEach((note) => seen.push(note.textContent));
      new MutationObserver(added).observe(document.getElementById("notes"), { childList: true });
    });
    await press(page.locator("#cut"));
    await wait_for(() => seen.includes("lost") && seen.indexOf("live", seen.indexOf("lost")) > 0);
    await wait_for(() => seen.some((words) => words.includes("nothing is missing")));
    await page.evaluate(() => scrollTo(0, 0));
    await values_move();
  },
};
await run_checks(checks, complaints, browser);
probe.end(true);
