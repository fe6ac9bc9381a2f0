/** @file The first view: the question, the answer, the charts, the table, the launches. */

import { drawChart } from "./chart.js";
import { counted, decimal, el, factList, fill } from "./dom.js";
import { cellTable } from "./table.js";
import { cellLine, launchList } from "./views.js";
import { parseWhere, WhereError } from "./where.js";

/** @typedef {import("./views.js").Context} Context */
/** @typedef {import("./data.js").Experiment} Experiment */
/** @typedef {import("./where.js").Predicate} Predicate */

/**
 * Return the overview, and how to bring its table and its charts in line with a new filter or order.
 *
 * @param {Context} context
 */
export function overview(context) {
  const { data, experiment, go } = context;
  const table = el("div");
  const problem = el("p", { role: "alert", class: "failed" });
  const field = el("input", { id: "where", name: "where", type: "text", autocomplete: "off", spellcheck: false, placeholder: "temperature<=1 and test=~capital" });
  const charts = experiment.charts.map((entry) => ({ entry, holder: el("div") }));
  const shown = el(
    "article",
    {},
    el("section", { "aria-labelledby": "question" },
      el("h2", { id: "question" }, "Question"),
      experiment.description ? el("p", { class: "lead" }, experiment.description) : null,
      factList(experiment.facts)),
    el("section", { "aria-labelledby": "answer" }, el("h2", { id: "answer" }, "Answer"), answerParts(experiment)),
    el("section", { "aria-labelledby": "charts" },
      el("h2", { id: "charts" }, experiment.charts.length === 1 ? "Chart" : "Charts"),
      el("p", { class: "quiet" }, "A click or Enter on a square opens its cell."),
      charts.map(({ entry, holder }) => el("section", { "aria-label": entry.title }, holder))),
    el("section", { "aria-labelledby": "cells" },
      el("h2", { id: "cells" }, "Cells"),
      el("form", { submit: (/** @type {Event} */ event) => { event.preventDefault(); go({ where: field.value }); } },
        el("label", { for: "where" }, "Only cells where"), field, el("button", { type: "submit" }, "Filter")),
      problem,
      table),
    launchList(experiment, context.place, undefined),
    leftOut(context),
  );

  /** @param {import("./router.js").Place} place */
  function update(place) {
    field.value = place.where ?? "";
    fill(problem);
    /** @type {Predicate} */
    let selected = () => true;
    try {
      selected = parseWhere(field.value, Object.keys(experiment.points));
    } catch (reason) {
      if (!(reason instanceof WhereError)) throw reason;
      fill(problem, reason.message);
    }
    const cells = experiment.cells.map((_, cell) => cell).filter((cell) => selected((axis) => valuesAt(experiment, axis, cell)));
    fill(table, cellTable(experiment, cells, place, go));
    const kept = new Set(cells);
    for (const { holder } of charts) holder.dispatchEvent(new CustomEvent("select-cells", { detail: kept }));
  }

  const drawn = Promise.all(charts.map(async ({ entry, holder }) => {
    holder.style.minHeight = `${entry.width ? 120 : 0}px`;
    await drawChart(holder, await data.record(entry.record), (cells) => described(experiment, cells), (cells) => {
      const [one, other] = cells.map((cell) => experiment.cells[cell]);
      go(other === undefined ? { cell: one } : { left: `${one}:0`, right: `${other}:0`, what: "reply" });
    });
  }));
  return { shown, update, drawn };
}

/** @param {Experiment} experiment @param {number[]} cells */
function described(experiment, cells) {
  return cells.map((cell) => cellLine(experiment, cell)).join(" against ");
}

const NULL = /** @type {import("./where.js").Value} */ ({ type: "null", label: "null" });

/** @param {Experiment} experiment @param {string} axis @param {number} cell */
function valuesAt(experiment, axis, cell) {
  const { values, cells } = experiment.points[axis];
  const at = cells[cell];
  if (typeof at === "number") return [at < 0 ? NULL : values[at]];
  return at.map((one) => values[one]);
}

/** @param {Experiment} experiment */
function answerParts({ answer }) {
  return [
    answer.lines.map((line) => el("p", {}, line)),
    answer.gate.map(({ name, baseline, verdict, lines }) => el(
      "div",
      { class: "gate" },
      el("h3", {}, `Gate: ${name} against ${baseline}: `, el("span", { class: { "no worse": "passed", regression: "failed" }[verdict] ?? "errored" }, verdict)),
      el("p", {}, lines[0]),
      el("details", {}, el("summary", {}, "What it rests on"), el("ul", {}, lines.slice(1).map((line) => el("li", {}, line)))),
    )),
    answer.rank ? rankTable(answer.rank) : null,
    el("h3", {}, "Undecided"),
    answer.undecided.length ? el("ul", {}, answer.undecided.map((line) => el("li", {}, line))) : el("p", {}, "Nothing of the above."),
  ];
}

/** @param {NonNullable<import("./data.js").Answer["rank"]>} rank */
function rankTable({ by, rows, notes }) {
  const ends = (/** @type {number | null} */ low, /** @type {number | null} */ high) => (low === null ? "–" : `${decimal(low, 2)}–${decimal(high, 2)}`);
  /** @type {[string, (row: Record<string, any>) => string][]} */
  const columns = [
    ["tests", (row) => String(row.tests)],
    ["n", (row) => String(row.trials)],
    ["mean", (row) => decimal(row.success_ratio)],
    ["95 % these", (row) => ends(row.these_low, row.these_high)],
    ["95 % such", (row) => ends(row.low, row.high)],
    ["P(best)", (row) => decimal(row.chance_of_best, 2)],
    ["vs best", (row) => (row === rows[0] ? "best" : row.told_from_best === null ? "–" : `${row.told_from_best ? "below" : "≈"} ${decimal(row.p_vs_best_holm)}`)],
  ];
  const shown = columns.filter(([name]) => rows.length > 1 || !name.endsWith("best") && name !== "P(best)");
  return [
    el("div", { class: "wide", tabindex: 0, role: "region", "aria-label": "Rank" }, el(
      "table",
      {},
      el("caption", {}, `Rank by ${by.join(", ") || "nothing"}, over all tests`),
      el("thead", {}, el("tr", {}, el("th", { scope: "col" }, by.join(" · ") || "all cells"), shown.map(([name]) => el("th", { scope: "col", class: "number" }, name)))),
      el("tbody", {}, rows.map((row) => el("tr", {}, el("th", { scope: "row" }, row.name), shown.map(([, text]) => el("td", { class: "number" }, text(row)))))),
    )),
    notes.map((line) => el("p", { class: "quiet" }, line)),
  ];
}

/** @param {Context} context */
function leftOut({ data }) {
  const { replies, trials, max_mb } = data.index.left_out;
  if (!replies) return null;
  return el("section", { "aria-labelledby": "left-out" }, el("h2", { id: "left-out" }, "Left out"), el("p", {},
    `The texts of ${counted(replies, "reply", "replies")} (${counted(trials, "trial")}) did not fit into ${max_mb} MB. `
    + "Failures came first, then each different reply once. All trials are counted in every figure. A higher --max-mb takes in more."));
}
