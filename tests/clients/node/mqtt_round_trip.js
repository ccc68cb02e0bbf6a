// MQTT.js against a running gateway: every quality of service, text and binary, on any transport.
// Usage: node mqtt_round_trip.js URL 3|4|5   (URL is mqtt://, ws:// or wss://). Exit code 0 means that all of it held.

import assert from "node:assert/strict";
import { once } from "node:events";
import mqtt from "mqtt";

const [url, version] = process.argv.slice(2);
const client = await mqtt.connectAsync(url, {
  protocolVersion: Number(version),
  // Over WebSocket this asks for the sub-protocol "mqttv3.1".
  protocolId: version === "3" ? "MQIsdp" : "MQTT",
  reconnectPeriod: 0,
  properties: version === "5" ? { topicAliasMaximum: 10 } : undefined,
});
let aliases = 0;
client.on("packetreceive", (packet) => {
  if (packet.cmd === "publish" && packet.properties?.topicAlias) aliases += 1;
});

const payloads = [Buffer.from("hi"), Buffer.alloc(0), Buffer.from([0, 255, 128, 0]), Buffer.alloc(200_000, 7)];
const received = [];
const complete = new Promise((resolve) => {
  client.on("message", (topic, payload, packet) => {
    received.push({ topic, payload, qos: packet.qos });
    if (received.length === payloads.length * 3) resolve();
  });
});

const grants = await client.subscribeAsync("javascript/#", { qos: 2 });
assert.deepEqual(grants.map((grant) => grant.qos), [2]);
for (const qos of [0, 1, 2]) {
  for (const payload of payloads) await client.publishAsync(`javascript/${qos}`, payload, { qos });
}
await complete;
received.forEach(({ topic, payload, qos }, index) => {
  assert.equal(qos, Math.floor(index / payloads.length));
  assert.equal(topic, `javascript/${qos}`);
  assert.ok(payload.equals(payloads[index % payloads.length]), `payload ${index} differs`);
});

// The first message of a topic has no alias yet; two topics may share one.
if (version === "5") assert.ok(aliases >= payloads.length - 1, `${aliases} packets with a topic alias`);

const closed = once(client, "close");
await client.endAsync();
await closed;
