// How far the demo's page keeps up: what it shows itself, once a second, in Chromium.
// Usage: node measure_page.js PAGE_URL [SECONDS]   Prints messages per second and the lag from a device's time stamp to the screen; ends with
// 1 if the lag of the last quarter is more than half a second longer than that of the first: then the page falls behind.
//
// Chromium is driven by its own protocol here, not by playwright: that one asks to be told of every WebSocket frame, which costs the page more
// than reading it does.

import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import WebSocket from "ws";
import { executable, flags } from "./chromium.js";

const [url, seconds = "20"] = process.argv.slice(2);

/** The figures that the page shows, when they are others than `before`. */
const figures = (before) => `(async () => {
  const [rate, lag] = ["rate", "lag"].map((id) => document.getElementById(id).dataset);
  while (rate.value === undefined || rate.value === ${JSON.stringify(before)} || !lag.mean) await new Promise((resolve) => setTimeout(resolve, 50));
  return { rate: Number(rate.value), text: rate.value, mean: Number(lag.mean), highest: Number(lag.highest) };
})()`;

/** Starts Chromium with a page, and returns a function that evaluates an expression in it, and one that ends it all. */
async function start() {
  const profile = mkdtempSync(join(tmpdir(), "measure-page-"));
  const own = ["--headless", "--remote-debugging-port=0", "--window-size=1280,800", `--user-data-dir=${profile}`, url];
  const chromium = spawn(executable(), [...flags, ...own], { stdio: ["ignore", "ignore", "pipe"] });
  let address = null;
  for await (const line of createInterface({ input: chromium.stderr })) {
    address = line.match(/^DevTools listening on ws:\/\/([^/]+)/)?.[1];
    if (address) break;
  }
  const targets = await (await fetch(`http://${address}/json`)).json();
  const socket = new WebSocket(targets.find((target) => target.type === "page").webSocketDebuggerUrl);
  await once(socket, "open");
  let calls = 0;
  const evaluate = (expression) =>
    new Promise((resolve, reject) => {
      const id = (calls += 1);
      const answer = (data) => {
        const { id: answered, result } = JSON.parse(data);
        if (answered !== id) return;
        socket.off("message", answer);
        if (result?.exceptionDetails) reject(new Error(result.exceptionDetails.exception?.description));
        else resolve(result?.result?.value);
      };
      socket.on("message", answer);
      socket.send(JSON.stringify({ id, method: "Runtime.evaluate", params: { expression, awaitPromise: true, returnByValue: true } }));
    });
  const end = async () => {
    socket.close();
    chromium.kill();
    await once(chromium, "exit");
    rmSync(profile, { recursive: true, force: true });
  };
  return { evaluate, end };
}

const { evaluate, end } = await start();
// Until the page has loaded there is nothing in it to wait for.
while (!(await evaluate(`document.getElementById("lag") !== null`))) await new Promise((resolve) => setTimeout(resolve, 100));
const rows = [];
let before = "";
while (rows.length < Number(seconds) + 5) {
  const row = await evaluate(figures(before));
  before = row.text;
  rows.push(row);
  console.log(`${row.text} messages/s, lag ${row.mean} ms in the mean, ${row.highest} ms at most`);
}
await end();

// The first seconds still catch up with the beginning: everything that was retained comes at once.
const measured = rows.slice(5);
const mean = (values) => values.reduce((sum, value) => sum + value, 0) / values.length;
const quarter = Math.ceil(measured.length / 4);
const [first, last] = [measured.slice(0, quarter), measured.slice(-quarter)].map((rows) => mean(rows.map((row) => row.mean)));
console.log(`mean of ${measured.length} s: ${mean(measured.map((row) => row.rate)).toFixed(0)} messages/s`);
console.log(`lag of the first quarter ${first.toFixed(0)} ms, of the last ${last.toFixed(0)} ms; longest ${Math.max(...measured.map((row) => row.highest)).toFixed(0)} ms`);
process.exitCode = last > first + 500 ? 1 : 0;
