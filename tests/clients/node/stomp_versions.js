// @stomp/stompjs over WebSocket in each of its versions, and bare frames that no client library would send.
// Usage: node stomp_versions.js exchange|hostile URL
// Both assert for themselves: exit code 0 means that all of it held.

import assert from "node:assert/strict";
import { once } from "node:events";
import { Client, Versions } from "@stomp/stompjs";
import WebSocket from "ws";

Object.assign(globalThis, { WebSocket });
const [action, url] = process.argv.slice(2);
const deadline = setTimeout(() => {
  console.error("the deadline has passed");
  process.exit(1);
}, 45_000);

/** A connected client of these versions. */
function connected(versions) {
  return new Promise((resolve, reject) => {
    const client = new Client({ brokerURL: url, reconnectDelay: 0, stompVersions: new Versions(versions) });
    client.onStompError = (frame) => reject(new Error(`ERROR ${JSON.stringify(frame.headers)} ${frame.body}`));
    client.onWebSocketError = (event) => reject(new Error(`WebSocket: ${event.message}`));
    client.onConnect = () => resolve(client);
    client.activate();
  });
}

/** Waits for the receipt of what `act` does with these headers. */
function confirmed(client, receipt, act) {
  return new Promise((resolve) => {
    client.watchForReceipt(receipt, resolve);
    act({ receipt });
  });
}

/** The messages of a subscription, one after the other. */
function messages(client, destination, headers) {
  const [arrived, awaited] = [[], []];
  const handle = (message) => (awaited.length ? awaited.shift()(message) : arrived.push(message));
  const subscribed = confirmed(client, `subscribed ${destination}`, (receipt) => {
    client.subscribe(destination, handle, { ...headers, ...receipt });
  });
  const next = () => (arrived.length ? arrived.shift() : new Promise((resolve) => awaited.push(resolve)));
  return { subscribed, next };
}

/** A body as text: bytes travel in binary WebSocket messages. */
const text = (message) => Buffer.from(message.binaryBody).toString();

/** Headers, acknowledgements and transactions of one version; `version` is what the server chose. */
async function exchange(versions, version) {
  const client = await connected(versions);
  assert.equal(client.connectedVersion, version);
  const destination = `/topic/versions/${version}`;
  const subscription = messages(client, destination, { ack: "client-individual", "prefetch-count": "2" });
  await subscription.subscribed;
  const send = (body, headers = {}) =>
    confirmed(client, `sent ${body}`, (receipt) => client.publish({ destination, body, headers: { ...headers, ...receipt } }));

  // stompjs knows the escapes of 1.2 only.
  const odd = version === "1.1" ? {} : { colon: "a:b", backslash: "c\\d" };
  await send("first", odd);
  const first = await subscription.next();
  assert.deepEqual([text(first), first.headers.destination], ["first", destination]);
  assert.deepEqual([first.headers.colon, first.headers.backslash], [odd.colon, odd.backslash]);

  const aborted = client.begin("aborted");
  await send("lost", { transaction: "aborted" });
  first.ack({ transaction: "aborted" });
  aborted.abort();
  const committed = client.begin("committed");
  await send("second", { transaction: "committed" });
  first.ack({ transaction: "committed" });
  await send("outside");
  const outside = await subscription.next();
  assert.equal(text(outside), "outside");
  committed.commit();
  const second = await subscription.next();
  assert.equal(text(second), "second");
  outside.ack();
  if (version === "1.0") second.ack();
  else second.nack();
  await send("third");
  assert.equal(text(await subscription.next()), "third");
  await client.deactivate();
}

/** A frame with real NULs and line ends. */
const frame = (lines, body = "") => `${lines.join("\n")}\n\n${body}\0`;
const CONNECT = frame(["CONNECT", "accept-version:1.1,1.2", "host:example"]);

/** What is wrong with each, in words of the ERROR. */
const FAULTS = [
  ["the first frame has to be CONNECT or STOMP", [frame(["SEND", "destination:/topic/a", "receipt:r"], "x")]],
  ["Supported protocol versions are 1.0 1.1 1.2", [frame(["CONNECT", "accept-version:2.0"])]],
  ["the connection is open already", [CONNECT, CONNECT]],
  ["MESSAGE is a frame of servers", [CONNECT, frame(["MESSAGE", "destination:/topic/a"])]],
  ["command is not one of STOMP", [CONNECT, frame(["PUBLISH", "destination:/topic/a"])]],
  ["command is not one of STOMP", [CONNECT, "X".repeat(100_000)]],
  ["an escape other than", [CONNECT, frame(["SEND", "destination:/topic/a\\t"])]],
  ["a NUL stands before the blank line", [CONNECT, "SEND\ndestination:/topic/\0a\n\n\0"]],
  ["not valid UTF-8", [CONNECT, Buffer.from("SEND\ndestination:/topic/\xff\n\n\0", "latin1")]],
  ["must not have a body", [CONNECT, frame(["SUBSCRIBE", "id:1", "destination:/topic/a"], "body")]],
  ["the body has more than", [CONNECT, "SEND\ndestination:/topic/a\ncontent-length:99999999999999999999\n\n"]],
  ["content-length is not a number", [CONNECT, frame(["SEND", "destination:/topic/a", "content-length:-1"])]],
  ["no NUL stands behind a body", [CONNECT, frame(["SEND", "destination:/topic/a", "content-length:1"], "xyz")]],
  ["a header line has more than", [CONNECT, "SEND\na:" + "b".repeat(200_000)]],
  ["more than 100 headers", [CONNECT, "SEND\n" + "a:b\n".repeat(5_000)]],
  ["waits for an acknowledgement", [CONNECT, frame(["ACK", "id:18446744073709551616-99999999999999999999"])]],
];

/** Each of them gets an ERROR that names it, and the ERROR arrives before the close. */
async function hostile([words, frames], subprotocol) {
  const socket = new WebSocket(url, subprotocol);
  const received = [];
  socket.on("message", (data) => received.push(data.toString()));
  await once(socket, "open");
  frames.forEach((one) => socket.send(one));
  await once(socket, "close");
  const error = received.pop() ?? "nothing";
  assert.ok(error.startsWith("ERROR\n") && error.endsWith("\0"), `${words}: ${error}`);
  assert.ok(error.includes("\nmessage:") && error.includes("\ncontent-type:text/plain\ncontent-length:"), error);
  assert.ok(error.includes(words), `${words}: ${error}`);
  assert.equal(error.includes("\nreceipt-id:r\n"), frames.at(-1).includes("\nreceipt:r\n"), error);
  assert.deepEqual(received.map((one) => one.split("\n")[0]), frames.length > 1 ? ["CONNECTED"] : []);
}

if (action === "exchange") {
  const { V1_0, V1_1, V1_2 } = Versions;
  await exchange([V1_0], "1.0");
  await exchange([V1_1], "1.1");
  await exchange([V1_2], "1.2");
  await exchange([V1_0, V1_1], "1.1");
} else {
  const witness = await connected([Versions.V1_2]);
  const { subscribed, next } = messages(witness, "/topic/witness", {});
  await subscribed;
  for (const fault of FAULTS) await hostile(fault, ["v12.stomp", "v11.stomp"]);
  witness.publish({ destination: "/topic/witness", body: "unharmed" });
  assert.equal(text(await next()), "unharmed");
  await witness.deactivate();
}
clearTimeout(deadline);
