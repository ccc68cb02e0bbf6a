// The page's end of its connection, which lives in a worker (`link_worker.js`). What messages mean is not known here.

export class Link {
  #worker = new Worker("link_worker.js", { type: "module" });
  #waiting = new Map();
  #requests = 0;

  /**
   * `listener.phase(name, words, stream)` is told how the connection is: connecting, live, lost or refused; when it is live, `stream` says whether
   * the messages "began", "continued" where they were, or go on behind a "gap"; `listener.gap()` is told of messages that are missing;
   * `listener.message(destination, body, is_retained)` gets what arrives.
   */
  constructor(url, destination, listener) {
    this.#worker.onmessage = ({ data }) => {
      if (data.kind === "phase") listener.phase(data.name, data.words, data.stream);
      else if (data.kind === "gap") listener.gap();
      else if (data.kind === "answer") this.#answered(data);
      else for (let at = 0; at < data.batch.length; at += 3) listener.message(data.batch[at], data.batch[at + 1], data.batch[at + 2]);
    };
    this.#worker.postMessage({ kind: "start", url, destination });
  }

  /** Drops the connection as a bad network would; it comes back by itself. */
  cut() {
    this.#worker.postMessage({ kind: "cut" });
  }

  /** Sends a command and waits for its answer: `{ body, milliseconds }`. */
  request(destination, command) {
    return new Promise((resolve, reject) => {
      const id = (this.#requests += 1);
      this.#waiting.set(id, { resolve, reject });
      this.#worker.postMessage({ kind: "request", id, destination, command });
    });
  }

  #answered({ id, failure, body, milliseconds }) {
    const waiting = this.#waiting.get(id);
    this.#waiting.delete(id);
    if (failure === undefined) waiting?.resolve({ body, milliseconds });
    else waiting?.reject(new Error(failure));
  }
}
