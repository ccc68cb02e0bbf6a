// The page's program: one STOMP subscription shown as a table of devices, and a button for each of them.

const address = new URLSearchParams(location.search);
const gateway = address.get("gateway") ?? "ws://127.0.0.1:8083/";
const destination = address.get("destination") ?? "/topic/plant/#";
const devices_max = 200;

const state = document.getElementById("state");
const rows = new Map();
const waiting = new Map();
let questions = 0;

const client = new StompJs.Client({ brokerURL: gateway, reconnectDelay: 2000 });
// Where answers to this page go. The gateway makes an address of it that belongs to this connection and that nobody can guess.
const replies = "/temp-queue/answers";

client.onConnect = () => {
  client.subscribe(replies, show_answer);
  client.watchForReceipt("subscribed", () => { state.textContent = `connected to ${gateway}, showing ${destination}`; });
  client.subscribe(destination, show, { receipt: "subscribed" });
};
client.onWebSocketClose = () => {
  if (client.active) state.textContent = `no connection to ${gateway}, trying again`;
};
// What was refused once would be refused again, so the page stops here and goes on showing why.
client.onStompError = (frame) => {
  state.textContent = `refused: ${frame.body || frame.headers.message}`;
  client.deactivate();
};
client.activate();

/** A message on /topic/plant/<area>/<device>/<metric>; other topics are none of this page's business. */
function show(message) {
  const [, , plant, area, device, metric] = message.headers.destination.split("/");
  if (plant !== "plant" || !metric || ["command", "info"].includes(metric)) return;
  const row = row_of(`${area}/${device}`);
  if (row === undefined) return;
  if (metric === "status") {
    row.dataset.status = row.cells[1].textContent = message.body;
    return;
  }
  const value = [...row.cells[2].children].find((value) => value.dataset.metric === metric) ?? value_of(row, metric);
  // textContent, never innerHTML: whatever a device sends stays text.
  value.textContent = `${metric} ${readable(message.body)}`;
  value.dataset.retained = message.headers.retained === "true";
}

/** The row of a device; a new one when it has not been heard of, unless there are too many. */
function row_of(name) {
  if (rows.has(name) || rows.size >= devices_max) return rows.get(name);
  const row = document.getElementById("devices").insertRow();
  for (let cell = 0; cell < 4; cell += 1) row.insertCell();
  row.cells[0].textContent = name;
  const button = document.createElement("button");
  button.textContent = "report";
  button.addEventListener("click", () => send_command(row, name, "report"));
  row.cells[3].append(button, document.createElement("output"));
  rows.set(name, row);
  return row;
}

function value_of(row, metric) {
  const value = document.createElement("div");
  value.dataset.metric = metric;
  row.cells[2].append(value);
  return value;
}

/** `{"value":1,"unit":"bar"}` as people write it; anything else as it is. */
function readable(body) {
  try {
    const { value, unit } = JSON.parse(body);
    return value === undefined ? body : `${value} ${unit ?? ""}`.trim();
  } catch {
    return body;
  }
}

function send_command(row, name, command) {
  if (!client.connected) return;
  const id = String((questions += 1));
  waiting.set(id, { row, sent: performance.now() });
  const headers = { "reply-to": replies, "correlation-id": id, "content-type": "application/json" };
  client.publish({ destination: `/topic/plant/${name}/command`, headers, body: JSON.stringify({ command }) });
  row.querySelector("output").textContent = " asked";
}

function show_answer(message) {
  const asked = waiting.get(message.headers["correlation-id"]);
  if (asked === undefined) return;
  waiting.delete(message.headers["correlation-id"]);
  const milliseconds = Math.round(performance.now() - asked.sent);
  asked.row.querySelector("output").textContent = ` answered in ${milliseconds} ms: ${message.body}`;
}
