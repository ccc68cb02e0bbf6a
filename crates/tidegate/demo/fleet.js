// What the page knows of the plant, made from nothing but messages: topics `plant/<area>/<machine>/<metric>`, and beside the metrics
// `status` (online, or offline by the device's will) and `info` (kind and limits). It draws nothing.

import { History } from "./history.js";

/** Whoever may publish could invent topics without end; beyond this they are not looked at. */
const topics_max = 100_000;

/** The levels of a metric. */
const levels = ["normal", "warning", "alarm"];

class Metric {
  unit = "";
  value = null;
  /** The device's time of the value, in milliseconds since 1970. */
  at = 0;
  /** Whether the value is one that the gateway had retained. */
  is_retained = false;
  warning = Infinity;
  alarm = Infinity;
  history = new History();

  constructor(name) {
    this.name = name;
  }

  get level() {
    if (this.value === null || this.value < this.warning) return 0;
    return this.value < this.alarm ? 1 : 2;
  }

  /** How near it is to its warning, from 0 to 1. Most values live in the upper half of that way, so it is drawn out. */
  get heat() {
    if (this.value === null || this.warning === Infinity) return 0;
    return Math.min(1, Math.max(0, this.value / this.warning)) ** 3;
  }
}

export class Machine {
  kind = "";
  line = null;
  /** Whether its link stands; `null` while nobody has said so. */
  is_online = null;
  /** Since when, by this page's clock; 0 where the page only found it so. */
  since = 0;
  /** In the order of its description, then of appearance. */
  metrics = new Map();
  status = "normal";

  constructor(area, name) {
    this.area = area;
    this.name = name;
    this.key = `${area}/${name}`;
  }

  metric(name) {
    let metric = this.metrics.get(name);
    if (metric === undefined) this.metrics.set(name, (metric = new Metric(name)));
    return metric;
  }

  /** The metric that an overview shows: one beyond its limits, else the first. */
  get foremost() {
    let found = null;
    for (const metric of this.metrics.values()) {
      if (metric.value === null) continue;
      if (found === null || metric.level > found.level) found = metric;
    }
    return found;
  }
}

export class Fleet {
  /** All machines by `area/name`. */
  machines = new Map();
  /** Those that have news since somebody last cleared this. */
  changed = new Set();
  /** How many machines have which status. */
  counts = { all: 0, normal: 0, warning: 0, alarm: 0, lost: 0 };
  #handlers = new Map();
  #on_reading;

  /** `on_reading` is told the device's time of each live reading. */
  constructor(on_reading) {
    this.#on_reading = on_reading;
  }

  /** Takes a message. What is no news of a machine is left alone. */
  handle(destination, body, is_retained) {
    let handle = this.#handlers.get(destination);
    if (handle === undefined) {
      if (this.#handlers.size >= topics_max) return;
      this.#handlers.set(destination, (handle = this.#handler(destination)));
    }
    handle?.(body, is_retained);
  }

  /** What is done with the messages of one topic: made once, because the same topics come again and again. */
  #handler(destination) {
    const [, , plant, area, name, metric, ...rest] = destination.split("/");
    if (plant !== "plant" || !metric || rest.length > 0 || metric === "command") return null;
    const machine = this.#machine(area, name);
    if (metric === "status") return (body, is_retained) => this.#status(machine, body, is_retained);
    if (metric === "info") return (body) => this.#info(machine, body);
    const target = machine.metric(metric);
    return (body, is_retained) => this.#reading(machine, target, body, is_retained);
  }

  #machine(area, name) {
    const key = `${area}/${name}`;
    let machine = this.machines.get(key);
    if (machine === undefined) {
      machine = new Machine(area, name);
      this.machines.set(key, machine);
      this.counts.all += 1;
      this.counts.normal += 1;
      this.changed.add(machine);
    }
    return machine;
  }

  #reading(machine, metric, body, is_retained) {
    const reading = parse(body);
    const value = typeof reading === "object" ? reading?.value : reading;
    if (typeof value !== "number") return;
    const at = typeof reading.at === "number" ? reading.at : Date.now();
    if (!is_retained) this.#on_reading(at);
    if (typeof reading.unit === "string") metric.unit = reading.unit;
    metric.value = value;
    metric.at = at;
    metric.is_retained = is_retained;
    metric.history.add(at, value);
    this.#judge(machine);
  }

  #status(machine, body, is_retained) {
    const is_online = body === "online";
    if (machine.is_online !== is_online) {
      machine.is_online = is_online;
      machine.since = is_retained ? 0 : Date.now();
    }
    this.#judge(machine);
  }

  #info(machine, body) {
    const info = parse(body);
    if (typeof info?.kind !== "string") return;
    machine.kind = info.kind;
    machine.line = info.line ?? null;
    if (!Array.isArray(info.metrics)) return;
    const described = info.metrics.filter((metric) => typeof metric?.name === "string").slice(0, 32);
    const known = machine.metrics;
    machine.metrics = new Map();
    for (const { name, warning, alarm } of described) {
      const metric = known.get(name) ?? machine.metric(name);
      metric.warning = warning ?? Infinity;
      metric.alarm = alarm ?? Infinity;
      machine.metrics.set(name, metric);
      // Readings of this metric found it under this name before, and must go on finding it.
      known.delete(name);
    }
    for (const [name, metric] of known) machine.metrics.set(name, metric);
    this.#judge(machine);
  }

  #judge(machine) {
    this.changed.add(machine);
    let level = 0;
    for (const metric of machine.metrics.values()) level = Math.max(level, metric.level);
    const status = machine.is_online === false ? "lost" : levels[level];
    if (status === machine.status) return;
    this.counts[machine.status] -= 1;
    this.counts[status] += 1;
    machine.status = status;
  }
}

/** JSON, or `null` where it is none. */
function parse(body) {
  try {
    return JSON.parse(body);
  } catch {
    return null;
  }
}
