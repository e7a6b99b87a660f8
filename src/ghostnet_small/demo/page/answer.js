// The classes with their probabilities, one column a precision, the likeliest first.

import { find, findAs, make, percent, timeText } from "./dom.js";

/** @typedef {import("./network.js").Answers} Answers */
/** @typedef {import("./network.js").Network} Network */

const FIRST = 5;
// While the camera runs, answers are read out no more often than this.
const QUIET_MS = 3000;

/** The table, its headline and the sentence for screen readers. */
export class AnswerTable {
  /** @param {Network} network */
  constructor(network) {
    this.network = network;
    this.classes = network.model.classes;
    this.table = findAs("classes", HTMLTableElement);
    this.all = false;
    this.spokenAt = 0;
    this.spokenWinner = "";
    /** @type {Answers | null} */
    this.answers = null;
    for (const name of network.precisions) {
      this.table.tHead?.rows[0].append(make("th", { scope: "col", class: name }, name));
    }
    const more = findAs("more", HTMLButtonElement);
    more.hidden = this.classes.length <= FIRST;
    more.addEventListener("click", () => {
      this.all = !this.all;
      more.setAttribute("aria-expanded", String(this.all));
      this.draw();
    });
    this.draw();
  }

  /**
   * @param {Answers} answers
   * @param {boolean} live whether others follow within a moment
   */
  show(answers, live) {
    this.answers = answers;
    this.draw();
    this.speak(live);
  }

  /** Class numbers, likeliest first by the first precision. @returns {number[]} */
  order() {
    const places = [...this.classes.keys()];
    const first = this.answers?.of[this.network.precisions[0]]?.probabilities;
    return first ? places.sort((a, b) => first[b] - first[a] || a - b) : places;
  }

  draw() {
    const { precisions } = this.network;
    const rows = this.all ? this.order() : this.order().slice(0, FIRST);
    const winners = new Set(precisions.map((name) => this.winner(name)));
    const body = this.answers ? rows.map((place) => this.row(place, winners)) : this.emptyRows();
    this.table.tBodies[0].replaceChildren(...body);
    const more = this.classes.length > FIRST && this.all ? `Only the first ${FIRST}` : null;
    findAs("more", HTMLButtonElement).disabled = !this.answers;
    find("more").textContent = more ?? `All ${this.classes.length} classes`;
    const times = precisions.map((name) => {
      const ms = this.answers?.of[name]?.ms;
      return make("td", {}, ms === undefined ? "–" : timeText(ms));
    });
    const label = make("th", { scope: "row" }, "This run");
    this.table.tFoot?.replaceChildren(make("tr", {}, label, ...times));
    this.headline();
  }

  /**
   * @param {number} place of the class
   * @param {Set<number | null>} winners
   */
  row(place, winners) {
    const name = make("th", { scope: "row" }, this.classes[place]);
    const cells = this.network.precisions.map((precision) => {
      const probability = this.answers?.of[precision]?.probabilities[place] ?? 0;
      const fill = make("span", { class: `fill ${precision}` });
      fill.style.inlineSize = `${100 * probability}%`;
      const bar = make("span", { class: "bar", "aria-hidden": "true" }, fill);
      const cell = make("td", {}, make("span", { class: "value" }, percent(probability)), bar);
      cell.dataset.probability = String(probability);
      return cell;
    });
    const row = make("tr", winners.has(place) ? { class: "winner" } : {}, name, ...cells);
    row.dataset.class = String(place);
    return row;
  }

  /** As high as the rows that will come, so that nothing moves. */
  emptyRows() {
    return this.classes.slice(0, FIRST).map(() => {
      const cells = this.network.precisions.map(() =>
        make("td", {}, make("span", { class: "value" }, "–"), make("span", { class: "bar" })),
      );
      return make("tr", { class: "empty" }, make("th", { scope: "row" }, "–"), ...cells);
    });
  }

  /** @param {import("./network.js").Precision} name @returns {number | null} */
  winner(name) {
    const found = this.answers?.of[name]?.probabilities;
    return found ? found.indexOf(found.reduce((a, b) => Math.max(a, b))) : null;
  }

  headline() {
    const [first] = this.network.precisions;
    const place = this.winner(first);
    if (place === null) return;
    find("winner").textContent = this.classes[place];
    const probability = this.answers?.of[first]?.probabilities[place] ?? 0;
    find("winner-share").textContent = percent(probability);
    find("echo").textContent = `${this.classes[place]} ${percent(probability)}`;
    find("agreement").textContent = this.agreement();
  }

  /** What the two precisions say of each other. @returns {string} */
  agreement() {
    const { precisions } = this.network;
    const [one, two] = precisions.map((name) => this.answers?.of[name]?.probabilities);
    if (!one || !two) return `Only ${precisions[0]} of this network is served.`;
    const [a, b] = precisions.map((name) => this.classes[this.winner(name) ?? 0]);
    if (a !== b) return `The two differ: float32 says ${a}, int8 says ${b}.`;
    const apart = one.reduce((most, value, place) => Math.max(most, Math.abs(value - two[place])), 0);
    const points = 100 * apart;
    const amount = points < 0.05 ? "less than 0.1" : points.toFixed(1);
    return `float32 and int8 agree; their probabilities differ by ${amount} percentage points at most.`;
  }

  /** @param {boolean} live */
  speak(live) {
    const [first] = this.network.precisions;
    const [top, second] = this.order();
    const winner = this.classes[top];
    const now = performance.now();
    if (live && (winner === this.spokenWinner || now - this.spokenAt < QUIET_MS)) return;
    this.spokenWinner = winner;
    this.spokenAt = now;
    const share = (/** @type {number} */ place) =>
      percent(this.answers?.of[first]?.probabilities[place] ?? 0);
    const next = second === undefined || live ? "" : ` Next, ${this.classes[second]}, ${share(second)}.`;
    const other = live ? "" : ` ${this.agreement()}`;
    find("spoken").textContent = `${winner}, ${share(top)}.${next}${other}`;
  }
}
