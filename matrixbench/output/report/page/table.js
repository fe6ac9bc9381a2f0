/** @file The table of cells: sorted by a column, filtered, and opened row by row. */

import { button, count, counted, decimal, el, fill, rounded } from "./dom.js";
import { near } from "./router.js";

/** @typedef {import("./data.js").Experiment} Experiment */
/** @typedef {import("./data.js").Column} Column */
/** @typedef {import("./router.js").Place} Place */

/** So many rows are drawn at a time; there may be ten thousand. */
const STEP = 100;

/**
 * @param {Experiment} experiment
 * @param {number[]} cells the ones that the filter selects
 * @param {Place} place
 * @param {(to: Partial<Place>) => void} go
 */
export function cellTable(experiment, cells, place, go) {
  const columns = tableColumns(experiment);
  const sorted = sortedBy(columns, place.sort, cells);
  const body = el("tbody");
  const more = button("Show more rows", () => grow());
  const said = el("p", { class: "quiet", role: "status" });
  let shown = 0;
  function grow() {
    const rows = sorted.slice(shown, shown + STEP).map((cell) => row(columns, cell, experiment, place));
    body.append(...rows);
    shown += rows.length;
    more.hidden = shown >= sorted.length;
    fill(said, `${count(shown)} of ${counted(sorted.length, "row")}`);
  }
  grow();
  const heads = columns.map((column) => heading(column, place.sort, go));
  return el(
    "div",
    {},
    el(
      "div",
      { class: "wide", tabindex: 0, role: "region", "aria-label": "Table of cells" },
      el("table", {}, el("caption", {}, `Cells of ${experiment.name}`), el("thead", {}, el("tr", {}, heads)), body),
    ),
    said,
    more,
  );
}

/** @param {Experiment} experiment @returns {Column[]} the axes that vary, then what was measured */
function tableColumns(experiment) {
  const varying = experiment.axes.filter((axis) => experiment.points[axis].values.length > 1);
  const axes = varying.length ? varying : experiment.axes.slice(0, 1);
  return [
    ...axes.map((axis) => {
      const { values, cells } = experiment.points[axis];
      const texts = cells.map((one) => (typeof one === "number" && one >= 0 ? values[one].label : null));
      // In the file's order, which the places of the values are.
      return /** @type {Column & {order: (number | number[])[]}} */ ({
        name: axis, title: axis, kind: "text", values: texts, order: cells,
      });
    }),
    ...experiment.columns,
  ];
}

/** @param {Column[]} columns @param {string | undefined} sort @param {number[]} cells */
function sortedBy(columns, sort, cells) {
  const column = columns.find((one) => one.name === sort?.replace(/^-/, ""));
  if (!column) return cells;
  const sign = sort?.startsWith("-") ? -1 : 1;
  const keys = "order" in column ? /** @type {(number | null)[]} */ (column.order) : column.values;
  return [...cells].sort((one, other) => {
    const [a, b] = [keys[one], keys[other]];
    // What is missing stands last, whichever way it is sorted.
    if (a === null || b === null) return a === b ? 0 : a === null ? 1 : -1;
    return a === b ? 0 : (a < b ? -1 : 1) * sign;
  });
}

/** @param {Column} column @param {string | undefined} sort @param {(to: Partial<Place>) => void} go */
function heading({ name, title, kind }, sort, go) {
  const direction = sort === name ? "ascending" : sort === `-${name}` ? "descending" : "none";
  const arrow = { ascending: " ▲", descending: " ▼", none: "" }[direction];
  // What is high is looked for first in numbers, what comes first in words.
  const first = kind === "text" ? name : `-${name}`;
  const other = kind === "text" ? `-${name}` : name;
  return el(
    "th",
    { scope: "col", "aria-sort": direction, class: kind === "text" ? "" : "number" },
    button(title + arrow, () => go({ sort: sort === first ? other : first }), { class: "plain" }),
  );
}

/** @param {Column[]} columns @param {number} cell @param {Experiment} experiment @param {Place} place */
function row(columns, cell, experiment, place) {
  return el(
    "tr",
    {},
    columns.map((column, at) => {
      const text = written(column, cell);
      if (at) return el("td", { class: column.kind === "text" ? "" : "number" }, text);
      return el("th", { scope: "row" }, el("a", { href: near(place, { cell: experiment.cells[cell] }) }, text || "–"));
    }),
  );
}

/** @param {Column} column @param {number} cell */
export function written({ kind, values }, cell) {
  const value = values[cell];
  if (typeof value !== "number") return value ?? (kind === "text" ? "" : "–");
  if (kind === "ratio") return decimal(value);
  if (kind === "count") return count(value);
  return kind === "seconds" ? `${rounded(value)} s` : rounded(value);
}
