// One metric of the machine that is looked at: its value, where that came from, and a chart of the last minutes.

import { chart, make_canvas, time_at } from "./chart.js";
import * as format from "./format.js";

const chart_span = 180_000;

export class MetricCard {
  #metric;
  #value = document.createTextNode("–");
  #unit = document.createElement("i");
  #note = document.createElement("p");
  #canvas = make_canvas();
  /** Where somebody points at the chart, in pixels; `null` where nobody does. */
  #pointer = null;

  constructor(metric) {
    this.#metric = metric;
    this.element = document.createElement("section");
    this.element.className = "metric";
    const head = document.createElement("div");
    head.className = "metric-head";
    const name = Object.assign(document.createElement("h3"), { textContent: metric.name });
    const value = Object.assign(document.createElement("p"), { className: "metric-value" });
    value.append(this.#value, this.#unit);
    head.append(name, value);
    this.#note.className = "metric-note";
    this.#canvas.setAttribute("role", "img");
    this.element.append(head, this.#note, this.#canvas);
    this.#canvas.addEventListener("pointermove", (event) => (this.#pointer = event.offsetX));
    this.#canvas.addEventListener("pointerdown", (event) => (this.#pointer = event.offsetX));
    this.#canvas.addEventListener("pointerleave", () => (this.#pointer = null));
  }

  /** Whether its machine is online decides whether the last value is a live one. */
  update(palette, is_online) {
    const metric = this.#metric;
    if (metric.value === null) return;
    const now = Date.now();
    const value = format.value(metric.value);
    this.#value.data = value;
    this.#unit.textContent = metric.unit;
    this.element.dataset.level = metric.level;
    this.element.dataset.retained = metric.is_retained;
    this.#canvas.ariaLabel = `Chart of the ${metric.name} over the last minutes; ${is_online === false ? "last" : "now"} ${value} ${metric.unit}`;
    const marked = this.#pointed(now);
    this.#note.textContent = marked < 0 ? this.#origin(now, is_online) : this.#point(marked, now);
    chart(this.#canvas, metric, now, chart_span, palette, marked);
  }

  #origin(now, is_online) {
    const age = format.span(Math.max(0, now - this.#metric.at));
    if (this.#metric.is_retained) return `• retained by the gateway, measured ${age} ago`;
    if (is_online === false) return `offline · measured ${age} ago`;
    const limits = [`warning at ${format.value(this.#metric.warning)}`, `alarm at ${format.value(this.#metric.alarm)}`];
    return Number.isFinite(this.#metric.warning) ? `live · ${limits.join(" · ")}` : "live";
  }

  #point(index, now) {
    const { history, unit } = this.#metric;
    return `${format.value(history.value(index))} ${unit}, ${format.span(now - history.time(index))} ago`;
  }

  #pointed(now) {
    if (this.#pointer === null) return -1;
    const { history } = this.#metric;
    return Math.min(history.length - 1, history.since(time_at(this.#canvas, this.#pointer, now, chart_span)));
  }
}
