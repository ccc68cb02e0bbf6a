// The demo page's reader of MESSAGE frames against the frames that it must take, and those that it must leave to the library.
// Usage: node lean_socket.js   Exit code 0 means that all of it held.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";

/** Enough of a WebSocket to be extended: it keeps the handler that is set. */
class WebSocket {
  set onmessage(handle) {
    this.handle = handle;
  }
}
Object.assign(globalThis, { WebSocket });
// The page's files are modules for browsers; nothing tells Node so.
const source = readFileSync(new URL("../../../crates/tidegate/demo/lean_socket.js", import.meta.url), "utf8");
const { LeanSocket } = await import(`data:text/javascript,${encodeURIComponent(source)}`);

const bytes = (text) => Buffer.byteLength(text);
const frame = (body, headers = "", length = bytes(body)) =>
  `MESSAGE\nsubscription:s\nmessage-id:1\ndestination:/topic/a\n${headers}content-length:${length}\n\n${body}\0`;

/** What is read of a frame here, and how many frames went to the library; its signs of life do not count. */
function read(data) {
  const [taken, left] = [[], []];
  const socket = new LeanSocket("ws://x/", [], "s", ({ destination, retained }, body) => taken.push([destination, body, retained === "true"]));
  socket.onmessage = (event) => event.data !== "\n" && left.push(event.data);
  socket.handle({ data });
  return { taken, left };
}

for (const body of ["", "21.5", "°C", "水", "🌊", "a\0b", "MESSAGE\n\n\0", "\n\n", "x".repeat(70_000)]) {
  assert.deepEqual(read(frame(body)), { taken: [["/topic/a", body, false]], left: [] }, JSON.stringify(body));
}
assert.deepEqual(read(frame("1", "retained:true\n")).taken, [["/topic/a", "1", true]]);
// The first of repeated headers counts.
assert.deepEqual(read(frame("1", "retained:false\nretained:true\n")).taken, [["/topic/a", "1", false]]);
assert.deepEqual(read(frame("1").replace("/topic/a", "/topic/a\\cb\\\\n\\n")).taken, [["/topic/a:b\\n\n", "1", false]]);

const left = [
  "\n",
  "",
  "RECEIPT\nreceipt-id:1\n\n\0",
  frame("1").replace("subscription:s", "subscription:t"),
  frame("1").replace("subscription:s", "subscription:t\nsubscription:s"),
  frame("1") + frame("2"),
  frame("a\0MESSAGE\nsubscription:s\ncontent-length:1\n\nb", "", 1),
  frame("1").slice(0, -1),
  frame("1", "", 2),
  frame("°", "", 1),
  frame("1").replace(/content-length:.*\n/, ""),
  frame("1").replaceAll("\n", "\r\n"),
  frame("1") + "\n",
  new ArrayBuffer(8),
];
for (const data of left) {
  assert.deepEqual(read(data).taken, [], JSON.stringify(data));
  if (data !== "\n") assert.deepEqual(read(data).left, [data], JSON.stringify(data));
}

// The library sees that the server lives, although it sees no message.
let signs = 0;
const socket = new LeanSocket("ws://x/", [], "s", () => {});
socket.onmessage = () => (signs += 1);
for (let count = 0; count < 100; count += 1) socket.handle({ data: frame("1") });
assert.ok(signs >= 1 && signs < 100, `${signs} signs of life`);
