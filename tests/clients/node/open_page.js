// Opens the browser example in a DOM with scripts and WebSocket, as a browser would, and uses it once.
// Usage: node open_page.js WEBSOCKET_URL   Prints `connected`; then, for each row that appears, `got DESTINATION MESSAGE`.
// The page itself sends `from the page` to /topic/commands/browser; the program ends when that has come back.

import { JSDOM } from "jsdom";
import { fileURLToPath, pathToFileURL } from "node:url";

const file = fileURLToPath(new URL("../../../examples/browser/index.html", import.meta.url));
const url = pathToFileURL(file);
url.search = new URLSearchParams({ gateway: process.argv[2], destination: "/topic/#" }).toString();

// Every browser has these two; jsdom leaves them to its user.
const beforeParse = (window) => Object.assign(window, { TextEncoder, TextDecoder });
const options = { url: url.href, runScripts: "dangerously", resources: "usable", beforeParse };
const page = await JSDOM.fromFile(file, options);
const { document, MutationObserver, Event } = page.window;

function send() {
  const form = document.getElementById("send");
  form.elements.body.value = "from the page";
  form.dispatchEvent(new Event("submit", { cancelable: true }));
}

function watch(element, handle) {
  new MutationObserver(handle).observe(element, { childList: true });
}

watch(document.getElementById("state"), () => {
  const state = document.getElementById("state").textContent;
  console.log(state);
  if (state.startsWith("connected")) console.log("connected");
});

watch(document.getElementById("messages"), (changes) => {
  for (const row of changes.flatMap((change) => [...change.addedNodes])) {
    const [, destination, message] = [...row.cells].map((cell) => cell.textContent);
    console.log("got", destination, message);
    if (destination !== "/topic/commands/browser") send();
    else process.exit(0);
  }
});
