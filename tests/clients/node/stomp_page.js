// @stomp/stompjs in a page in Chromium on one side, MQTT.js on the other: what only a browser's own WebSocket can show.
// Usage: node stomp_page.js WEBSOCKET_URL MQTT_URL   Prints `ok NAME` after each check.

import assert from "node:assert/strict";
import { createServer } from "node:http";
import { fileURLToPath } from "node:url";
import mqtt from "mqtt";
import { open_page, run_checks } from "./chromium.js";

const [url, mqtt_url] = process.argv.slice(2);
// Chromium lets a page that comes from nowhere connect to nothing on this machine, so the page has a server.
const server = createServer((_, answer) => answer.setHeader("content-type", "text/html").end('<link rel="icon" href="data:,">'));
await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
const origin = `http://127.0.0.1:${server.address().port}`;
const { browser, page, complaints } = await open_page("desktop", origin);
await page.goto(origin);
const library = new URL("./node_modules/@stomp/stompjs/bundles/stomp.umd.min.js", import.meta.url);
await page.addScriptTag({ path: fileURLToPath(library) });

/** In the page: `connect(options)` gives a connected client that keeps what it hears; binary bodies become arrays, to leave the page. */
await page.evaluate((url) => {
  window.heard = [];
  window.connect = (options = {}) =>
    new Promise((resolve) => {
      window.client = new StompJs.Client({ brokerURL: url, reconnectDelay: 0, ...options });
      client.onConnect = () => resolve(client.webSocket.protocol);
      client.onStompError = (frame) => console.error(`ERROR ${frame.headers.message} ${frame.body}`);
      client.activate();
    });
  window.listen = (destination, headers = {}) =>
    new Promise((resolve) => {
      const receipt = `listen-${destination}`;
      client.watchForReceipt(receipt, () => resolve());
      client.subscribe(destination, (frame) => heard.push(frame), { receipt, ...headers });
    });
  window.send = (message) =>
    new Promise((resolve) => {
      const receipt = crypto.randomUUID?.() ?? String(Math.random());
      client.watchForReceipt(receipt, () => resolve(true));
      client.publish({ ...message, headers: { ...message.headers, receipt } });
    });
  window.bytes_heard = () => heard.map((frame) => [frame.headers.destination, [...frame.binaryBody]]);
}, url);

const device = await mqtt.connectAsync(mqtt_url, { protocolVersion: 5, reconnectPeriod: 0 });
const arrived = [];
device.on("message", (topic, payload, packet) => arrived.push({ topic, payload, packet }));
await device.subscribeAsync("to/device/#", { qos: 1 });

const page_heard = (count) => page.waitForFunction((count) => heard.length >= count, count);
const forget = () => page.evaluate(() => void heard.splice(0));

/** Waits until the device has heard so many messages; the page's receipts say only that the gateway has them. */
async function device_heard(count) {
  const deadline = Date.now() + 50_000;
  while (arrived.length < count) {
    assert.ok(Date.now() < deadline, `the device heard ${arrived.length} of ${count}`);
    await new Promise((resolve) => device.once("packetreceive", () => setImmediate(resolve)));
  }
  return arrived.splice(0);
}

const payloads = {
  text: Buffer.from("grün ☂ 🌊\nline two\r\n"),
  nuls: Buffer.from([0, 97, 0, 0]),
  "no text at all": Buffer.from([0, 255, 128, 10, 195, 40, 0]),
  nothing: Buffer.alloc(0),
  "a quarter of a megabyte": Buffer.from(Uint8Array.from({ length: 1 << 18 }, (_, index) => (index * 31) & 255)),
};

const checks = {
  "the newest sub-protocol is spoken": async () => {
    assert.equal(await page.evaluate(() => connect({ heartbeatIncoming: 0, heartbeatOutgoing: 0 })), "v12.stomp");
    await page.evaluate(() => listen("/topic/to/page/#"));
  },
  "payloads of every kind come from a device": async () => {
    for (const payload of Object.values(payloads)) await device.publishAsync("to/page/x", payload, { qos: 1 });
    await page_heard(Object.keys(payloads).length);
    const heard = await page.evaluate(() => bytes_heard());
    Object.entries(payloads).forEach(([name, payload], index) => {
      assert.equal(heard[index][0], "/topic/to/page/x");
      assert.ok(payload.equals(Buffer.from(heard[index][1])), name);
    });
    await forget();
  },
  "payloads of every kind go to a device, each with its receipt": async () => {
    for (const payload of Object.values(payloads)) {
      const sent = await page.evaluate(
        (bytes) => send({ destination: "/topic/to/device/y", binaryBody: Uint8Array.from(bytes) }),
        [...payload],
      );
      assert.equal(sent, true);
    }
    const heard = await device_heard(Object.keys(payloads).length);
    Object.entries(payloads).forEach(([name, payload], index) => {
      assert.equal(heard[index].topic, "to/device/y");
      assert.ok(payload.equals(heard[index].payload), name);
    });
  },
  "properties cross both ways": async () => {
    const properties = { contentType: "text/csv", responseTopic: "to/device/answer", correlationData: Buffer.from("c:1\n"), userProperties: { line: "a:b" } };
    await device.publishAsync("to/page/p", "1;2", { qos: 1, properties });
    await page_heard(1);
    const headers = await page.evaluate(() => heard[0].headers);
    assert.equal(headers["content-type"], "text/csv");
    assert.equal(headers["correlation-id"], "c:1\n");
    assert.equal(headers.line, "a:b");
    await page.evaluate(
      ([destination, correlation]) => send({ destination, body: "3;4", headers: { "correlation-id": correlation, "content-type": "text/csv", line: "c\\d" } }),
      [headers["reply-to"], headers["correlation-id"]],
    );
    const [{ topic, packet }] = await device_heard(1);
    assert.equal(topic, "to/device/answer");
    assert.equal(packet.properties.correlationData.toString(), "c:1\n");
    assert.equal(packet.properties.contentType, "text/csv");
    assert.equal(packet.properties.userProperties.line, "c\\d");
    await forget();
  },
  "what is not acknowledged holds the next one back": async () => {
    await page.evaluate(() => listen("/topic/to/careful/#", { ack: "client-individual", "prefetch-count": "1", id: "careful" }));
    for (const body of ["one", "two", "three"]) await device.publishAsync("to/careful/a", body, { qos: 1 });
    await page_heard(1);
    // A receipt of something later proves that nothing was on its way meanwhile.
    await page.evaluate(() => send({ destination: "/topic/nobody", body: "" }));
    assert.deepEqual(await page.evaluate(() => heard.map((frame) => frame.body)), ["one"]);
    await page.evaluate(() => heard[0].ack());
    await page_heard(2);
    await page.evaluate(() => heard[1].nack());
    await page_heard(3);
    assert.deepEqual(await page.evaluate(() => heard.map((frame) => frame.body)), ["one", "two", "three"]);
    await page.evaluate(() => heard[2].ack());
    await forget();
  },
  "retained messages are marked, and cleared": async () => {
    await device.publishAsync("kept/a", "1", { qos: 1, retain: true });
    await page.evaluate(() => listen("/topic/kept/#"));
    await page_heard(1);
    assert.equal(await page.evaluate(() => heard[0].headers.retained), "true");
    await page.evaluate(() => send({ destination: "/topic/kept/a", body: "", headers: { retain: "true" } }));
    await page.evaluate(() => listen("/topic/kept/a"));
    await page.evaluate(() => send({ destination: "/topic/nobody", body: "" }));
    assert.ok(await page.evaluate(() => heard.slice(1).every((frame) => frame.headers.retained !== "true")));
    await forget();
  },
  "a page that leaves gets its last receipt": async () => {
    const left = await page.evaluate(
      () => new Promise((resolve) => {
        client.onDisconnect = () => resolve(true);
        client.deactivate();
      }),
    );
    assert.equal(left, true);
  },
  "heart-beats keep a silent connection": async () => {
    await page.evaluate(() => {
      window.beats = { sent: 0, received: 0 };
      const debug = (line) => {
        if (line === ">>> PING") beats.sent += 1;
        if (line === "<<< PONG") beats.received += 1;
      };
      return connect({ heartbeatIncoming: 300, heartbeatOutgoing: 300, debug });
    });
    await page.waitForFunction(() => beats.sent >= 2 && beats.received >= 2);
    assert.equal(await page.evaluate(() => client.connected), true);
  },
};
await run_checks(checks, complaints, browser);
device.end(true);
server.close();
