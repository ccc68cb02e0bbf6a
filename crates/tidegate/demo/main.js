// The page's wiring. Messages change the model at once and the screen when it is drawn, so no rate of messages makes the page draw more.

import { Detail } from "./detail.js";
import { Fleet } from "./fleet.js";
import { Link } from "./link.js";
import { Meters } from "./meters.js";
import { Overview } from "./overview.js";
import * as format from "./format.js";
import { StatusBar, choose_theme } from "./status_bar.js";
import { start_drawing } from "./screen.js";

const by_id = (id) => document.getElementById(id);
const chips = [...document.querySelectorAll(".chip")].map((chip) => ({ chip, number: chip.querySelector("b"), name: chip.dataset.filter }));

const bar = new StatusBar();
const meters = new Meters();
const fleet = new Fleet((at) => meters.reading(at));
const settings = await (await fetch("gateway.json")).json();
const gateway = `ws://${location.hostname}:${settings.websocketPort}/`;
const link = new Link(gateway, "/topic/plant/#", {
  phase: (name, words, stream) => bar.phase(name, words, stream),
  gap: () => bar.gap(),
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

/** Leaves an element alone that has the text already, because a browser would lay it out again. */
function show_text(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

function show_counts() {
  for (const { number, name } of chips) {
    show_text(number, format.count(fleet.counts[name]));
  }
  show_text(by_id("machines"), format.machines(fleet.counts.all));
}

/** Says why no machine is shown, where none is. */
function show_absence() {
  const empty = by_id("empty");
  empty.hidden = !overview.is_empty;
  show_text(empty, fleet.machines.size === 0 ? "Waiting for the first message." : "No machine matches.");
}

function draw(now) {
  overview.draw(now);
  detail.draw();
  show_counts();
  show_absence();
  if (meters.drawn(now)) bar.figures(meters.figures);
  // A machine that the address names may not have been heard of until now.
  if (detail.machine === null && location.hash !== "") look();
}

for (const { chip, name } of chips) {
  chip.addEventListener("click", () => {
    for (const other of chips) other.chip.ariaPressed = String(other.chip === chip);
    overview.filter({ status: name });
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
start_drawing(draw);
