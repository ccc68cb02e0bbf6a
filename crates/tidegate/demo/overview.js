// All machines by area. Work is bounded: a drawing brings a limited number of tiles up to date, those that wait longest first, so a fast fleet
// makes tiles a little older and never the page slower.

import { colours } from "./chart.js";
import * as format from "./format.js";
import { Tile } from "./tile.js";

/** Tiles that a drawing brings up to date, and the shortest time between two updates of the same one, in milliseconds. */
const tiles_per_drawing = 100;
const tile_interval = 250;

export class Overview {
  #root;
  #fleet;
  #areas = new Map();
  #tiles = new Map();
  #filter = { status: "all", text: "" };
  #palette = null;
  #visible = new Set();
  #observer;

  /** `open(key)` is called when somebody chooses a machine. */
  constructor(root, fleet, open) {
    this.#root = root;
    this.#fleet = fleet;
    this.#observer = new IntersectionObserver((entries) => this.#seen(entries), { rootMargin: "100px" });
    root.addEventListener("click", (event) => {
      const tile = event.target.closest(".tile");
      if (tile !== null) open(tile.dataset.key);
    });
  }

  /** Shows machines of one status ("all" for any) whose name contains a text. */
  filter(change) {
    this.#filter = { ...this.#filter, ...change };
    for (const tile of this.#tiles.values()) this.#sift(tile);
    for (const area of this.#areas.values()) this.#sum(area);
  }

  /** Whether the filter leaves nothing to show. */
  get is_empty() {
    return [...this.#areas.values()].every((area) => area.section.hidden);
  }

  /** Marks the machine that is looked at. */
  mark(key) {
    for (const [other, tile] of this.#tiles) tile.button.ariaCurrent = other === key ? "true" : null;
  }

  /** Gives the keyboard back to a machine's tile. */
  focus(key) {
    this.#tiles.get(key)?.button.focus();
  }

  /** Colours may have changed. */
  repaint() {
    this.#palette = null;
  }

  draw(now) {
    this.#palette ??= colours(this.#root);
    let left = tiles_per_drawing;
    for (const machine of this.#fleet.changed) {
      if (left === 0) break;
      const tile = this.#tiles.get(machine.key) ?? this.#add(machine);
      const is_urgent = tile.button.dataset.status !== machine.status;
      if (!is_urgent && now - tile.updated < tile_interval) continue;
      this.#fleet.changed.delete(machine);
      if (is_urgent) this.#restate(tile);
      if (!is_urgent && !this.#visible.has(tile.button)) continue;
      tile.update(now);
      tile.draw(now, this.#palette);
      left -= 1;
    }
  }

  #add(machine) {
    const tile = new Tile(machine);
    const area = this.#areas.get(machine.area) ?? this.#add_area(machine.area);
    this.#tiles.set(machine.key, tile);
    area.tiles.push(tile);
    const after = [...area.list.children].find((item) => item.firstChild.dataset.key.localeCompare(machine.key) > 0);
    area.list.insertBefore(tile.item, after ?? null);
    this.#observer.observe(tile.button);
    return tile;
  }

  #add_area(name) {
    const section = document.createElement("section");
    section.className = "area";
    section.dataset.area = name;
    const header = document.createElement("header");
    const heading = Object.assign(document.createElement("h2"), { textContent: name });
    const summary = document.createElement("p");
    header.append(heading, summary);
    const list = Object.assign(document.createElement("ul"), { className: "tiles" });
    section.append(header, list);
    const after = [...this.#root.children].find((other) => other.dataset.area.localeCompare(name) > 0);
    this.#root.insertBefore(section, after ?? null);
    const area = { section, summary, list, tiles: [] };
    this.#areas.set(name, area);
    return area;
  }

  /** The status of a tile has changed: who is shown, and the sum of its area, may be others. */
  #restate(tile) {
    tile.update(performance.now());
    this.#sift(tile);
    this.#sum(this.#areas.get(tile.machine.area));
  }

  #sift(tile) {
    const { status, text } = this.#filter;
    const { machine } = tile;
    tile.item.hidden = (status !== "all" && machine.status !== status) || !machine.key.includes(text);
  }

  #sum(area) {
    const counts = { alarm: 0, warning: 0, lost: 0 };
    for (const { machine } of area.tiles) if (machine.status in counts) counts[machine.status] += 1;
    const parts = Object.entries(counts).filter(([, count]) => count > 0).map(([status, count]) => `${count} ${status}`);
    area.summary.textContent = [`${area.tiles.length} ${format.machines(area.tiles.length)}`, ...parts].join(" · ");
    area.section.hidden = area.tiles.every((tile) => tile.item.hidden);
  }

  #seen(entries) {
    for (const { target, isIntersecting } of entries) {
      if (!isIntersecting) {
        this.#visible.delete(target);
        continue;
      }
      this.#visible.add(target);
      const tile = this.#tiles.get(target.dataset.key);
      // What it missed while it was out of sight.
      this.#fleet.changed.add(tile.machine);
    }
  }
}
