// Buttons that send a command to the machine that is looked at, and the answers with their round-trip times.

import * as format from "./format.js";

const answers_max = 5;

const commands = [
  { command: "report", words: "Ask for a report", is_first: true },
  { command: "repair", words: "Repair" },
  { command: "cut-link", words: "Cut its link" },
];

export class Commands {
  #machine;
  #link;
  #waiting = document.createElement("ul");
  #answers = document.createElement("ul");

  constructor(machine, link) {
    this.#machine = machine;
    this.#link = link;
    this.element = document.createElement("section");
    this.element.className = "commands";
    const heading = Object.assign(document.createElement("h3"), { textContent: "Commands" });
    const buttons = Object.assign(document.createElement("div"), { className: "commands-buttons" });
    buttons.append(...commands.map((entry) => this.#button(entry)));
    this.#waiting.className = "waiting";
    this.#answers.className = "answers";
    for (const list of [this.#waiting, this.#answers]) list.setAttribute("aria-live", "polite");
    this.element.append(heading, buttons, this.#waiting, this.#answers);
  }

  #button({ command, words, is_first }) {
    const button = document.createElement("button");
    button.type = "button";
    button.className = is_first ? "action" : "action plain";
    button.textContent = words;
    button.dataset.command = command;
    button.addEventListener("click", () => this.#send(command, words, button));
    return button;
  }

  async #send(command, words, button) {
    if (button.ariaDisabled === "true") return;
    // Nothing keeps a command for a machine that is away, so nobody should wait for its answer.
    if (this.#machine.is_online === false) return this.#show("failed", `${words}: not sent, it is offline`, "");
    const waiting = Object.assign(document.createElement("li"), { textContent: `${words}: waiting for an answer` });
    this.#waiting.append(waiting);
    // Not `disabled`: that would take the keyboard's place away from it.
    button.ariaDisabled = "true";
    try {
      const answer = await this.#link.request(`/topic/plant/${this.#machine.key}/command`, { command });
      this.#show("answered", `${words}: answered in ${format.span(answer.milliseconds)}`, answer.body);
    } catch (error) {
      this.#show("failed", `${words}: ${error.message}`, "");
    } finally {
      waiting.remove();
      button.ariaDisabled = "false";
    }
  }

  #show(outcome, words, body) {
    const item = document.createElement("li");
    item.dataset.outcome = outcome;
    item.append(Object.assign(document.createElement("b"), { textContent: words }));
    if (body !== "") item.append(Object.assign(document.createElement("code"), { textContent: body }));
    this.#answers.prepend(item);
    while (this.#answers.children.length > answers_max) this.#answers.lastChild.remove();
  }
}
