// The page's wiring. Messages change the model at once and the screen once per animation frame, so no rate of messages can make the page
// draw more often than the screen shows.

import { Detail } from "./detail.js";
import { Fleet } from "./fleet.js";
import { Link } from "./link.js";
import { Meters } from "./meters.js";
import { Overview } from "./overview.js";
import * as format from "./format.js";
import { StatusBar, choose_theme } from "./status_bar.js";

const by_id = (id) => document.getElementById(id);

const bar = new StatusBar();
const meters = new Meters();
const fleet = new Fleet((at) => meters.reading(at));
const settings = await (await fetch("gateway.json")).json();
const gateway = `ws://${location.hostname}:${settings.websocketPort}/`;
const link = new Link(gateway, "/topic/plant/#", {
  phase: (name, words) => bar.phase(name, words),
  message: (destination, body, is_retained) => {
    meters.count();
    fleet.handle(destination, body, is_retained);
  },
});
const overview = new Overview(by_id("areas"), fleet, (key) => (location.hash = key));
const detail = new Detail(by_id("detail"), link, () => (location.hash = ""));

/** The address names the machine that is looked at, so that it can be kept, sent and gone back from. */
function look() {
  const key = decodeURIComponent(location.hash.slice(1));
  const machine = fleet.machines.get(key) ?? null;
  if (machine === detail.machine) return;
  const before = detail.machine;
  detail.show(machine);
  overview.mark(key);
  if (machine === null && before !== null) overview.focus(before.key);
}

function show_counts() {
  for (const chip of document.querySelectorAll(".chip")) {
    const text = format.count(fleet.counts[chip.dataset.filter]);
    const number = chip.querySelector("b");
    if (number.textContent !== text) number.textContent = text;
  }
  by_id("empty").hidden = fleet.machines.size > 0;
}

function frame(now) {
  overview.frame(now);
  detail.frame(now);
  show_counts();
  if (meters.frame(now)) bar.figures(meters.figures);
  // A machine that the address names may not have been heard of until now.
  if (detail.machine === null && location.hash !== "") look();
  requestAnimationFrame(frame);
}

for (const chip of document.querySelectorAll(".chip")) {
  chip.addEventListener("click", () => {
    for (const other of document.querySelectorAll(".chip")) other.ariaPressed = String(other === chip);
    overview.filter({ status: chip.dataset.filter });
  });
}
by_id("search").addEventListener("input", (event) => overview.filter({ text: event.target.value.trim().toLowerCase() }));
by_id("cut").addEventListener("click", () => link.cut());
addEventListener("hashchange", look);
document.addEventListener("visibilitychange", () => meters.resume(performance.now()));
new ResizeObserver(([bar]) => {
  document.documentElement.style.setProperty("--bar-height", `${bar.target.offsetHeight}px`);
}).observe(document.querySelector(".bar"));
choose_theme(by_id("theme"), () => {
  overview.repaint();
  detail.repaint();
});
link.start();
requestAnimationFrame(frame);
