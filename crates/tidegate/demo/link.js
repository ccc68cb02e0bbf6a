// The page's connection: STOMP over WebSocket with @stomp/stompjs. It stays connected, keeps one subscription, and asks devices for
// answers. What messages mean is not known here.

import "./vendor/stomp.umd.min.js";

const { Client, ReconnectionTimeMode } = globalThis.StompJs;

/** Where answers to this page go: an address of this connection alone, which nobody can guess. */
const replies = "/temp-queue/answers";

/** How long somebody waits for the answer to a command, in milliseconds. */
const answer_timeout = 8000;

export class Link {
  #client;
  #destination;
  #listener;
  #waiting = new Map();
  #requests = 0;

  /**
   * `listener.phase(name, words)` is told how the connection is: connecting, live, lost or refused;
   * `listener.message(destination, body, is_retained)` gets what arrives.
   */
  constructor(url, destination, listener) {
    this.#destination = destination;
    this.#listener = listener;
    this.#client = new Client({
      brokerURL: url,
      reconnectDelay: 500,
      maxReconnectDelay: 5000,
      reconnectTimeMode: ReconnectionTimeMode.EXPONENTIAL,
      // A page in the background gets to run once a minute, so it promises nothing and only expects.
      heartbeatIncoming: 10_000,
      heartbeatOutgoing: 0,
      onConnect: () => this.#connected(),
      onWebSocketClose: () => this.#lost(),
      onStompError: (frame) => listener.phase("refused", `refused: ${frame.headers.message}`),
    });
  }

  start() {
    this.#listener.phase("connecting", "connecting");
    this.#client.activate();
  }

  /** Drops the connection as a bad network would; it comes back by itself. */
  cut() {
    this.#client.forceDisconnect();
  }

  /** Sends a command and waits for its answer: `{ body, milliseconds }`. */
  request(destination, command) {
    return new Promise((resolve, reject) => {
      if (!this.#client.connected) throw new Error("there is no connection");
      const id = String((this.#requests += 1));
      const timer = setTimeout(() => {
        this.#waiting.delete(id);
        reject(new Error(`no answer in ${answer_timeout / 1000} s`));
      }, answer_timeout);
      this.#waiting.set(id, { resolve, timer, sent: performance.now() });
      const headers = { "reply-to": replies, "correlation-id": id, "content-type": "application/json" };
      this.#client.publish({ destination, headers, body: JSON.stringify(command) });
    });
  }

  #connected() {
    this.#client.subscribe(replies, (frame) => this.#answered(frame));
    this.#client.watchForReceipt("subscribed", () => this.#listener.phase("live", "live"));
    const { message } = this.#listener;
    const handle = (frame) => message(frame.headers.destination, frame.body, frame.headers.retained === "true");
    this.#client.subscribe(this.#destination, handle, { receipt: "subscribed" });
  }

  #lost() {
    if (this.#client.active) this.#listener.phase("lost", "connection lost, trying again");
  }

  #answered(frame) {
    const waiting = this.#waiting.get(frame.headers["correlation-id"]);
    if (waiting === undefined) return;
    this.#waiting.delete(frame.headers["correlation-id"]);
    clearTimeout(waiting.timer);
    waiting.resolve({ body: frame.body, milliseconds: performance.now() - waiting.sent });
  }
}
