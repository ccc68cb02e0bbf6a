// @stomp/stompjs over WebSocket loses its connection again and again while MQTT.js publishes, and goes on with the last token.
// Usage: node stomp_resume.js WEBSOCKET_URL MQTT_URL   Prints `ok NAME` after each check.
// The gateway keeps many messages of `plant/#` and ten of `small/#`.

import assert from "node:assert/strict";
import { Client } from "@stomp/stompjs";
import mqtt from "mqtt";
import WebSocket from "ws";

Object.assign(globalThis, { WebSocket });
const [url, mqtt_url] = process.argv.slice(2);
const fail = (what) => {
  console.error(what);
  process.exit(1);
};
const publisher = await mqtt.connectAsync(mqtt_url);

// A page: it keeps the token of the last message, and subscribes with it whenever it is connected.
class Page {
  constructor(destination, ack = "auto") {
    Object.assign(this, { token: "", messages: [], starts: [], waiting: [] });
    const client = new Client({ brokerURL: url, reconnectDelay: 1 });
    client.onStompError = (frame) => fail(`ERROR frame: ${frame.body}`);
    client.onConnect = () => {
      const receipt = `start-${this.starts.length}`;
      client.watchForReceipt(receipt, (frame) => {
        this.starts.push(frame.headers.resume);
        this.token ||= frame.headers["resume-token"];
        this.#look();
      });
      client.subscribe(destination, (message) => this.#handle(message), { ack, resume: this.token, receipt });
    };
    this.ack = ack;
    this.client = client;
  }

  #handle(message) {
    this.token = message.headers.resume;
    this.messages.push(message);
    if (this.ack !== "auto") message.ack();
    this.on_message?.(message);
    this.#look();
  }

  #look() {
    this.waiting = this.waiting.filter(({ is_there, resolve }) => !is_there() || resolve());
  }

  until(is_there) {
    return new Promise((resolve) => {
      this.waiting.push({ is_there, resolve });
      this.#look();
    });
  }

  get bodies() {
    return this.messages.map((message) => message.body);
  }
}

async function publish(topic, first, count) {
  for (let number = first; number < first + count; number += 20) {
    const batch = Array.from({ length: Math.min(20, first + count - number) }, (_, at) => `${number + at}`);
    await Promise.all(batch.map((body) => publisher.publishAsync(topic, body, { qos: 1 })));
  }
}

async function cut_in_mid_stream(ack) {
  const count = 3000;
  const page = new Page("/topic/plant/#", ack);
  // The socket is gone without a word, as when a Wi-Fi is lost.
  page.on_message = () => {
    if (page.messages.length % 170 === 0 && page.messages.length < count) page.client.webSocket.terminate();
  };
  page.client.activate();
  await page.until(() => page.starts.length === 1);
  await publish(`plant/${ack}`, 0, count);
  await page.until(() => page.messages.length >= count);
  await page.client.deactivate();
  assert.deepEqual(page.bodies, Array.from({ length: count }, (_, number) => `${number}`));
  assert.equal(page.starts[0], "began");
  assert.ok(page.starts.length > 10 && page.starts.slice(1).every((start) => start === "continued"), `${page.starts}`);
  assert.ok(page.messages.every((message) => !("resume-gap" in message.headers)));
}

async function away_for_too_long() {
  await publisher.publishAsync("small/state", "old", { qos: 1, retain: true });
  const page = new Page("/topic/small/#");
  page.client.activate();
  await page.until(() => page.messages.length === 1);
  await publish("small/a", 0, 1);
  await page.until(() => page.messages.length === 2);
  await page.client.deactivate();
  await publish("small/a", 1, 50);
  await publisher.publishAsync("small/state", "new", { qos: 1, retain: true });
  page.client.activate();
  await page.until(() => page.starts.length === 2);
  await publish("small/a", 51, 2);
  await page.until(() => page.messages.length === 5);
  await page.client.deactivate();
  assert.deepEqual(page.starts, ["began", "gap"]);
  assert.deepEqual(page.bodies, ["old", "0", "new", "51", "52"]);
  const told = page.messages.map((message) => message.headers["resume-gap"]);
  assert.deepEqual(told, [undefined, undefined, "true", undefined, undefined]);
  assert.deepEqual(page.messages.map((message) => message.headers.retained), ["true", undefined, "true", undefined, undefined]);
}

async function refused() {
  const client = new Client({ brokerURL: url, reconnectDelay: 0 });
  const error = new Promise((resolve) => {
    client.onStompError = resolve;
  });
  client.onConnect = () => client.subscribe("/topic/elsewhere", () => {}, { resume: "" });
  client.activate();
  assert.match((await error).body, /no replay ring/);
}

const checks = {
  cut_in_mid_stream: () => cut_in_mid_stream("auto"),
  cut_with_acknowledgements: () => cut_in_mid_stream("client"),
  away_for_too_long,
  refused,
};
for (const [name, check] of Object.entries(checks)) {
  await check();
  console.log("ok", name);
}
await publisher.endAsync();
