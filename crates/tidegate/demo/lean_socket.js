// A WebSocket for @stomp/stompjs that reads one subscription's MESSAGE frames by itself. The library reads any frame byte by byte, which at ten
// thousand a second takes most of a core; a frame that came whole in one text message needs a few string searches. Everything else, and whatever
// is not certain to be one such frame, goes to the library as it is.

/** How often the library is shown that the server lives, while all that comes is read here, in milliseconds. */
const sign_interval = 1000;

export class LeanSocket extends WebSocket {
  #subscription;
  #on_message;
  #signed = 0;

  /** `on_message(headers, body)` gets the messages of the subscription with this id. */
  constructor(url, protocols, subscription, on_message) {
    super(url, protocols);
    this.#subscription = subscription;
    this.#on_message = on_message;
  }

  /** The library's handler, which sees what is not taken here. */
  set onmessage(handle) {
    super.onmessage = (event) => {
      if (typeof event.data !== "string" || !this.#take(event.data)) handle(event);
      else this.#sign(handle);
    };
  }

  /** The library counts any sign of life against the heart-beats that it expects; a line end is one by itself. */
  #sign(handle) {
    const now = Date.now();
    if (now - this.#signed < sign_interval) return;
    this.#signed = now;
    handle({ data: "\n" });
  }

  #take(text) {
    const head_end = text.indexOf("\n\n");
    if (head_end < 0 || !text.startsWith("MESSAGE\n") || text.charCodeAt(text.length - 1) !== 0) return false;
    const headers = read_headers(text, head_end);
    const body = text.slice(head_end + 2, -1);
    // Only the length tells where a body ends that may contain anything, another frame included.
    if (headers.subscription !== this.#subscription || utf8_length(body) !== Number(headers["content-length"])) return false;
    this.#on_message(headers, body);
    return true;
  }
}

/** The headers of a frame; of a repeated one the first counts (STOMP 1.2, "Repeated Header Entries"). */
function read_headers(text, head_end) {
  const headers = {};
  for (let start = text.indexOf("\n") + 1; start < head_end; ) {
    let end = text.indexOf("\n", start);
    if (end > head_end) end = head_end;
    const colon = text.indexOf(":", start);
    const name = text.slice(start, colon);
    headers[name] ??= unescape_header(text.slice(colon + 1, end));
    start = end + 1;
  }
  return headers;
}

const escapes = { "\\r": "\r", "\\n": "\n", "\\c": ":", "\\\\": "\\" };

/** STOMP 1.2, "Value Encoding". */
function unescape_header(value) {
  return value.includes("\\") ? value.replace(/\\[rnc\\]/g, (escaped) => escapes[escaped]) : value;
}

/** The bytes that a text has in UTF-8. */
function utf8_length(text) {
  let length = text.length;
  for (let index = 0; index < text.length; index += 1) {
    const code = text.charCodeAt(index);
    // The halves of a pair stand for two bytes each, which makes four.
    if (code > 0x7f) length += code > 0x7ff && (code < 0xd800 || code > 0xdfff) ? 2 : 1;
  }
  return length;
}
