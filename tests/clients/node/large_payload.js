// A large payload with MQTT.js on any transport: out and back at every quality of service, unchanged.
// Usage: node large_payload.js URL BYTES [CERT KEY]   (URL is mqtt://, mqtts://, ws:// or wss://). Exit code 0 means that it held.

import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import mqtt from "mqtt";

const [url, bytes, cert, key] = process.argv.slice(2);
const identity = cert ? { cert: readFileSync(cert), key: readFileSync(key) } : {};
const client = await mqtt.connectAsync(url, { protocolVersion: 5, reconnectPeriod: 0, ...identity });

// No two parts are alike, so that none can take another one's place.
const parts = Array.from({ length: Number(bytes) / 32 }, (_, part) => createHash("sha256").update(`${part}`).digest());
const payload = Buffer.concat(parts);
await client.subscribeAsync("large/#", { qos: 2 });
for (const qos of [0, 1, 2]) {
  const message = once(client, "message");
  await client.publishAsync(`large/${qos}`, payload, { qos });
  const [topic, got, packet] = await message;
  assert.equal(topic, `large/${qos}`);
  assert.equal(packet.qos, qos);
  assert.ok(got.equals(payload), `the payload at QoS ${qos} differs`);
}
await client.endAsync();
