// @stomp/stompjs over WebSocket, as a tool for tests with several clients.
// Usage: node stomp_client.js listen URL DESTINATION COUNT   prints `subscribed`, then `got DESTINATION BODY_IN_HEX` per message
//        node stomp_client.js send URL DESTINATION BODY_IN_HEX text|binary|split   sends one message and waits for its receipt;
//        `split`: as text, the frame in several WebSocket messages

import { Client } from "@stomp/stompjs";
import WebSocket from "ws";

Object.assign(globalThis, { WebSocket });
const [action, url, destination, argument, form] = process.argv.slice(2);

const splitting = { splitLargeFrames: form === "split", maxWebSocketChunkSize: 1024 };
const client = new Client({ brokerURL: url, reconnectDelay: 0, ...splitting });
const fail = (what) => {
  console.error(what);
  process.exit(1);
};
client.onStompError = (frame) => fail(`ERROR frame: ${JSON.stringify(frame.headers)} ${frame.body}`);
client.onWebSocketError = (event) => fail(`WebSocket error: ${event.message}`);

function listen(count) {
  let left = Number(count);
  client.watchForReceipt("subscribed", () => console.log("subscribed"));
  const handle = (message) => {
    console.log("got", message.headers.destination, Buffer.from(message.binaryBody).toString("hex"));
    left -= 1;
    if (left === 0) client.deactivate();
  };
  client.subscribe(destination, handle, { receipt: "subscribed" });
}

function send(hex) {
  const bytes = Buffer.from(hex, "hex");
  const body = form === "binary" ? { binaryBody: new Uint8Array(bytes) } : { body: bytes.toString() };
  client.watchForReceipt("sent", () => client.deactivate());
  client.publish({ destination, headers: { receipt: "sent" }, ...body });
}

client.onConnect = () => (action === "listen" ? listen(argument) : send(argument));
client.activate();
