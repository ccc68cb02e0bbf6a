// The page's connection, on a thread of its own: STOMP over WebSocket with @stomp/stompjs. It stays connected, keeps one subscription, and
// asks devices for answers. Messages go to the page in batches, so that reading never waits for drawing, nor drawing for reading.

import "./vendor/stomp.umd.min.js";
import { LeanSocket } from "./lean_socket.js";

const { Client, ReconnectionTimeMode, Versions } = globalThis.StompJs;

/** The id of the one subscription that brings everything. */
const everything = "everything";

/** Where answers to this page go: an address of this connection alone, which nobody can guess. */
const replies = "/temp-queue/answers";

/** How long somebody waits for the answer to a command, in milliseconds. */
const answer_timeout = 8000;

/** How long a message may wait for others to travel with, in milliseconds. */
const batch_time = 20;

class Link {
  #client;
  #destination;
  #batch = [];
  #waiting = new Map();
  /** What stands for the last message that arrived; empty while there is none, or where the gateway keeps no messages. */
  #token = "";

  constructor({ url, destination }) {
    this.#destination = destination;
    this.#client = new Client({
      webSocketFactory: () => {
        const take = (headers, body) => this.#message(headers, body);
        return new LeanSocket(url, Versions.default.protocolVersions(), everything, take);
      },
      reconnectDelay: 500,
      maxReconnectDelay: 5000,
      reconnectTimeMode: ReconnectionTimeMode.EXPONENTIAL,
      // A page in the background gets to run once a minute, so it promises nothing and only expects.
      heartbeatIncoming: 10_000,
      heartbeatOutgoing: 0,
      // Otherwise every frame is written out for a log that nobody reads.
      logRawCommunication: true,
      onConnect: () => this.#connected(),
      onWebSocketClose: () => this.#lost(),
      onStompError: (frame) => this.#phase("refused", `refused: ${frame.headers.message}`),
    });
    this.#phase("connecting", "connecting");
    this.#client.activate();
  }

  cut() {
    this.#client.forceDisconnect();
  }

  /** Sends a command; what comes of it is told to the page under the command's number. */
  request({ id, destination, command }) {
    if (!this.#client.connected) return this.#answer(id, { failure: "there is no connection" });
    const late = () => this.#answer(id, { failure: `no answer in ${answer_timeout / 1000} s` });
    this.#waiting.set(String(id), { timer: setTimeout(late, answer_timeout), sent: performance.now() });
    const headers = { "reply-to": replies, "correlation-id": String(id), "content-type": "application/json" };
    this.#client.publish({ destination, headers, body: JSON.stringify(command) });
  }

  #connected() {
    this.#client.subscribe(replies, (frame) => this.#answered(frame));
    this.#client.watchForReceipt("subscribed", ({ headers }) => this.#subscribed(headers));
    const handle = ({ headers, body }) => this.#message(headers, body);
    // With the last message's token the stream goes on behind it; the first time there is none.
    const headers = { id: everything, receipt: "subscribed", resume: this.#token };
    this.#client.subscribe(this.#destination, handle, headers);
  }

  #subscribed(headers) {
    this.#token ||= headers["resume-token"] ?? "";
    postMessage({ kind: "phase", name: "live", words: "live", stream: headers.resume });
  }

  #lost() {
    this.#flush();
    if (this.#client.active) this.#phase("lost", "connection lost, trying again");
  }

  #phase(name, words) {
    postMessage({ kind: "phase", name, words });
  }

  #message(headers, body) {
    this.#token = headers.resume ?? "";
    if (headers["resume-gap"] === "true") postMessage({ kind: "gap" });
    if (this.#batch.length === 0) setTimeout(() => this.#flush(), batch_time);
    this.#batch.push(headers.destination, body, headers.retained === "true");
  }

  #flush() {
    if (this.#batch.length === 0) return;
    postMessage({ kind: "messages", batch: this.#batch });
    this.#batch = [];
  }

  #answered(frame) {
    const id = frame.headers["correlation-id"];
    const sent = this.#waiting.get(id)?.sent;
    if (sent !== undefined) this.#answer(Number(id), { body: frame.body, milliseconds: performance.now() - sent });
  }

  #answer(id, answer) {
    clearTimeout(this.#waiting.get(String(id))?.timer);
    this.#waiting.delete(String(id));
    postMessage({ kind: "answer", id, ...answer });
  }
}

let link = null;
onmessage = ({ data }) => {
  if (data.kind === "start") link = new Link(data);
  else if (data.kind === "cut") link?.cut();
  else if (data.kind === "request") link?.request(data);
};
