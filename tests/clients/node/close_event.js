// Sends one text message and prints how the socket closes, as a page sees it.
// Usage: node close_event.js URL SUBPROTOCOL TEXT_IN_HEX   Prints `closed WAS_CLEAN CODE REASON`.

import WebSocket from "ws";

const [url, subprotocol, hex] = process.argv.slice(2);
const socket = new WebSocket(url, subprotocol);
socket.onopen = () => socket.send(Buffer.from(hex, "hex").toString());
socket.onerror = (event) => console.error(event.message);
socket.onclose = ({ wasClean, code, reason }) => console.log("closed", wasClean, code, reason);
