// The page's program: one STOMP subscription shown as a table, and a form that sends.

const address = new URLSearchParams(location.search);
const gateway = address.get("gateway") ?? "ws://127.0.0.1:8083/";
const destination = address.get("destination") ?? "/topic/#";
const rows_max = 200;

const state = document.getElementById("state");
const rows = document.getElementById("messages");

const client = new StompJs.Client({ brokerURL: gateway, reconnectDelay: 2000 });

client.onConnect = () => {
  const receipt = "subscribed";
  client.watchForReceipt(receipt, () => { state.textContent = `connected to ${gateway}, showing ${destination}`; });
  client.subscribe(destination, show, { receipt });
};
client.onWebSocketClose = () => { state.textContent = `no connection to ${gateway}, trying again`; };
client.onStompError = (frame) => { state.textContent = `refused: ${frame.headers.message}`; };
client.activate();

function show(message) {
  const row = rows.insertRow(0);
  // textContent, never innerHTML: whatever a device sends stays text.
  for (const text of [new Date().toLocaleTimeString(), message.headers.destination, message.body]) {
    row.insertCell().textContent = text;
  }
  if (rows.rows.length > rows_max) rows.deleteRow(-1);
}

document.getElementById("send").addEventListener("submit", (event) => {
  event.preventDefault();
  const form = event.target;
  if (!client.connected) return;
  client.publish({ destination: form.elements.destination.value, body: form.elements.body.value });
  form.elements.body.value = "";
});
