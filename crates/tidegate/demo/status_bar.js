// The bar at the top and what belongs to it: the state of the page's connection, the figures, the theme, the notes about events.

import * as format from "./format.js";

const note_time = 8000;
const notes_max = 4;

/** What a connection that is back means for the stream of messages. */
const streams = {
  began: "The stream began anew.",
  continued: "The stream went on where it was: nothing is missing.",
  gap: "That was too long for the gateway to keep everything: messages are missing.",
};

const themes = ["auto", "light", "dark"];

export class StatusBar {
  #link = document.getElementById("link");
  #rate = document.getElementById("rate");
  #lag = document.getElementById("lag");
  #notes = document.getElementById("notes");
  #lost_at = null;
  #gap_at = -Infinity;

  /** The page's connection is in this phase now. */
  phase(name, words, stream) {
    this.#link.dataset.phase = name;
    this.#link.textContent = words;
    document.documentElement.dataset.link = name;
    if (name === "lost") {
      if (this.#lost_at === null) this.note("lost", "The connection is lost. What is shown may be old.");
      this.#lost_at ??= performance.now();
    } else if (name === "live" && this.#lost_at !== null) {
      const away = format.span(performance.now() - this.#lost_at);
      this.note(stream === "gap" ? "gap" : "back", `Connected again after ${away}. ${streams[stream] ?? ""}`);
      this.#lost_at = null;
    }
  }

  /** Messages are missing: the page was away, or too slow, for longer than the gateway keeps them. */
  gap() {
    const now = performance.now();
    if (now - this.#gap_at > note_time) this.note("gap", "Messages are missing: this page was away or too slow for longer than the gateway keeps them.");
    this.#gap_at = now;
  }

  figures({ rate, lag, lag_highest }) {
    this.#rate.textContent = format.count(rate);
    this.#lag.textContent = lag === null ? "–" : `${format.span(lag)} / ${format.span(lag_highest)}`;
    // Plain numbers for whoever measures the page.
    Object.assign(this.#rate.dataset, { value: rate.toFixed(1) });
    Object.assign(this.#lag.dataset, { mean: lag?.toFixed(1) ?? "", highest: lag_highest?.toFixed(1) ?? "" });
  }

  /** Tells of an event for a while. */
  note(kind, words) {
    const note = Object.assign(document.createElement("p"), { className: "note", textContent: words });
    note.dataset.kind = kind;
    this.#notes.append(note);
    while (this.#notes.children.length > notes_max) this.#notes.firstChild.remove();
    setTimeout(() => note.remove(), note_time);
  }
}

/** Lets a button go through the themes, and remembers the choice; `changed()` is called when colours are others. */
export function choose_theme(button, changed) {
  const apply = (theme) => {
    document.documentElement.dataset.theme = theme;
    button.textContent = `Theme: ${theme}`;
    changed();
  };
  apply(themes.includes(localStorage.theme) ? localStorage.theme : "auto");
  button.addEventListener("click", () => {
    const next = themes[(themes.indexOf(document.documentElement.dataset.theme) + 1) % themes.length];
    localStorage.theme = next;
    apply(next);
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", changed);
}
