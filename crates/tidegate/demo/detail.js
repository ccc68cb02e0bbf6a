// The machine that is looked at: what it is, how it is, its metrics and its commands. Beside the overview, or over it on a phone.

import { colours } from "./chart.js";
import { Commands } from "./commands.js";
import * as format from "./format.js";
import { MetricCard } from "./metric_card.js";

const signs = { normal: "normal", warning: "▲ warning", alarm: "◆ alarm", lost: "✕ lost" };

export class Detail {
  machine = null;
  #element;
  #link;
  #close;
  #cards = new Map();
  #badge;
  #since;
  #where;
  #metrics;
  #palette = null;

  /** `close()` is called when somebody is done with the machine. */
  constructor(element, link, close) {
    this.#element = element;
    this.#link = link;
    this.#close = close;
    document.addEventListener("keydown", (event) => {
      if (event.key === "Escape" && this.machine !== null) close();
    });
  }

  /** Shows a machine, or nothing for `null`. */
  show(machine) {
    this.machine = machine;
    this.#cards.clear();
    this.#element.hidden = machine === null;
    this.#element.replaceChildren();
    if (machine === null) return;
    this.#metrics = Object.assign(document.createElement("div"), { className: "metrics" });
    this.#element.append(this.#head(machine), new Commands(machine, this.#link).element, this.#metrics);
    this.draw();
    this.#element.scrollTop = 0;
    this.#element.querySelector("h2").focus({ preventScroll: true });
  }

  repaint() {
    this.#palette = null;
  }

  draw() {
    if (this.machine === null) return;
    this.#palette ??= colours(this.#element);
    const { machine } = this;
    this.#badge.dataset.status = machine.status;
    this.#badge.textContent = signs[machine.status];
    this.#since.textContent = since(machine);
    this.#where.textContent = [machine.kind, `in ${machine.area}`, machine.line === null ? "" : `line ${machine.line}`].filter(Boolean).join(" · ");
    for (const metric of machine.metrics.values()) this.#card(metric).update(this.#palette, machine.is_online);
  }

  #head(machine) {
    const head = document.createElement("div");
    head.className = "detail-head";
    const name = Object.assign(document.createElement("h2"), { id: "detail-name", tabIndex: -1, textContent: machine.name });
    const close = Object.assign(document.createElement("button"), { type: "button", className: "quiet", textContent: "Close" });
    close.addEventListener("click", () => this.#close());
    this.#where = Object.assign(document.createElement("p"), { className: "detail-where" });
    const status = Object.assign(document.createElement("p"), { className: "detail-status" });
    this.#badge = Object.assign(document.createElement("span"), { className: "badge" });
    this.#since = document.createElement("span");
    status.append(this.#badge, this.#since);
    head.append(name, close, this.#where, status);
    return head;
  }

  #card(metric) {
    let card = this.#cards.get(metric);
    if (card === undefined) {
      card = new MetricCard(metric);
      this.#cards.set(metric, card);
      this.#metrics.append(card.element);
    }
    return card;
  }
}

function since({ is_online, since }) {
  if (is_online === null) return "it has not said whether it is online";
  const words = is_online ? "online" : "offline";
  return since === 0 ? words : `${words}, for ${format.span(Date.now() - since)}`;
}
