// One machine in the overview: a button with its name, its foremost value and a line of the last minute.

import { make_canvas, spark } from "./chart.js";
import * as format from "./format.js";

const spark_span = 60_000;
const spark_interval = 2000;
const heat_steps = 8;

export class Tile {
  /** When it was last brought up to date, and when its line was last drawn. */
  updated = 0;
  #drawn = 0;
  #shown = { text: "", unit: "", status: "", is_retained: null, heat: -1 };
  #value = document.createTextNode("–");
  #unit = document.createElement("i");
  #status = element("span", "unseen");
  #canvas = make_canvas();

  constructor(machine) {
    this.machine = machine;
    this.item = document.createElement("li");
    this.button = element("button", "tile");
    this.button.type = "button";
    this.button.dataset.key = machine.key;
    const name = element("span", "tile-name");
    name.textContent = machine.name;
    const value = element("span", "tile-value");
    value.append(this.#value, this.#unit);
    this.#canvas.setAttribute("aria-hidden", "true");
    this.button.append(name, value, this.#status, this.#canvas);
    this.item.append(this.button);
  }

  /** Shows what has changed, and nothing else: most of the time that is one number. */
  update(now) {
    this.updated = now;
    const { machine } = this;
    const metric = machine.foremost;
    this.#set_status(machine.status);
    if (metric === null) return;
    this.#set_value(format.value(metric.value), metric.unit);
    this.#set_retained(metric.is_retained && machine.status !== "lost");
    this.#set_heat(Math.round(metric.heat * heat_steps) / heat_steps);
  }

  /** Draws the line anew, if that was long enough ago. */
  draw(now, palette) {
    const metric = this.machine.foremost;
    if (metric === null || now - this.#drawn < spark_interval) return;
    this.#drawn = now;
    const { status } = this.machine;
    const colour = status === "normal" ? palette.accent : palette[status];
    spark(this.#canvas, metric.history, Date.now(), spark_span, colour);
  }

  #set_status(status) {
    if (this.#shown.status === status) return;
    this.#shown.status = status;
    this.button.dataset.status = status;
    this.#status.textContent = status;
  }

  #set_value(text, unit) {
    if (this.#shown.text !== text) this.#value.data = this.#shown.text = text;
    if (this.#shown.unit !== unit) this.#unit.textContent = this.#shown.unit = unit;
  }

  #set_retained(is_retained) {
    if (this.#shown.is_retained === is_retained) return;
    this.#shown.is_retained = is_retained;
    this.button.dataset.retained = is_retained;
  }

  #set_heat(heat) {
    if (this.#shown.heat === heat) return;
    this.#shown.heat = heat;
    this.button.style.setProperty("--heat", heat);
  }
}

/** An element of a class. */
function element(name, class_name) {
  return Object.assign(document.createElement(name), { className: class_name });
}
