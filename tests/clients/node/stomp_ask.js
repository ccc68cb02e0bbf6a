// @stomp/stompjs over WebSocket asks one question and prints `got ANSWER`.
// Usage: node stomp_ask.js URL DESTINATION QUESTION
// The answer comes to a temporary queue that the client has not subscribed to: asking is enough.

import { Client } from "@stomp/stompjs";
import WebSocket from "ws";

Object.assign(globalThis, { WebSocket });
const [url, destination, body] = process.argv.slice(2);
const correlation = "question-1";

const client = new Client({ brokerURL: url, reconnectDelay: 0 });
const fail = (what) => {
  console.error(what);
  process.exit(1);
};
client.onStompError = (frame) => fail(`ERROR frame: ${JSON.stringify(frame.headers)} ${frame.body}`);
client.onWebSocketError = (event) => fail(`WebSocket error: ${event.message}`);
client.onUnhandledMessage = (message) => {
  if (message.headers["correlation-id"] !== correlation) fail(`a wrong answer: ${JSON.stringify(message.headers)}`);
  console.log("got", message.body);
  client.deactivate();
};
client.onConnect = () =>
  client.publish({ destination, body, headers: { "reply-to": "/temp-queue/answers", "correlation-id": correlation } });
client.activate();
