/** @file What stands below the overview: a cell, a trial of it, a launch, two of them side by side. */

import { button, count, counted, decimal, el, factList, fill, moment, textBlock } from "./dom.js";
import { difference } from "./diff.js";
import { near } from "./router.js";
import { outcomeCount, promptParts, promptText, replyParts, replyText, reproduceParts, trialFacts, verdictTable } from "./transcript.js";

/** @typedef {import("./dom.js").Child} Child */
/** @typedef {import("./data.js").Data} Data */
/** @typedef {import("./data.js").Experiment} Experiment */
/** @typedef {import("./router.js").Place} Place */
/** @typedef {import("./transcript.js").Texts} Texts */
/**
 * @typedef {object} CellRecord
 * @property {Record<string, any>} row the columns of an export, those that are missing left out
 * @property {Record<string, any[]>} trials column → the values of its trials
 * @property {{record: number, trials: number[]}[]} groups trials by place, which gave one reply
 * @property {{requests: import("./transcript.js").Sent[]}} texts
 */
/** @typedef {{data: Data, experiment: Experiment, place: Place, go: (to: Partial<Place>) => void}} Context */

/** Columns that a cell's view says in words of its own. */
const TOLD = new Set([
  "cell", "status", "reason", "hint", "trials", "planned", "passed", "failed", "rejected", "errored", "success_ratio",
  "low", "high", "interval", "distinct", "launches", "shared_luck", "unverified", "top_kind", "top_count", "top_reason",
]);

/** @param {Experiment} experiment @param {string} key */
export function cellNumber(experiment, key) {
  return experiment.cells.indexOf(key);
}

/** @param {Experiment} experiment @param {number} cell @returns {string} what varies, as `cell_name` says it */
export function cellName(experiment, cell) {
  const said = experiment.axes
    .filter((axis) => experiment.points[axis].values.length > 1)
    .map((axis) => {
      const at = experiment.points[axis].cells[cell];
      if (typeof at !== "number" || at < 0) return null;
      const { label } = experiment.points[axis].values[at];
      return experiment.bare.includes(axis) ? label : `${axis.replace(/^[^.]*\./, "")}=${label}`;
    });
  return said.filter(Boolean).join(" · ") || experiment.name;
}

/** @param {Experiment} experiment @param {number} cell @returns {string} what a square says in a line */
export function cellLine(experiment, cell) {
  const of = (/** @type {string} */ name) => experiment.columns.find((one) => one.name === name)?.values[cell];
  const [ratio, low, high] = ["success_ratio", "low", "high"].map(of);
  const told = typeof ratio === "number" ? `success ratio ${decimal(ratio)}` : String(of("status") ?? "");
  const between = typeof low === "number" && typeof high === "number" && typeof ratio === "number"
    ? `, 95 % interval ${decimal(low)} to ${decimal(high)}` : "";
  return `${cellName(experiment, cell)}: ${told}${between}, ${counted(Number(of("trials") ?? 0), "trial")}`;
}

/** @param {Context} context @returns {Promise<Child>} */
export async function cellView(context) {
  const { data, experiment, place } = context;
  const cell = cellNumber(experiment, place.cell ?? "");
  if (cell < 0) return missing("There is no such cell in this report.", context);
  /** @type {CellRecord} */
  const record = await data.record(experiment.records[cell]);
  const at = place.trial === undefined ? -1 : (record.trials.trial ?? []).indexOf(place.trial);
  const trial = place.trial === undefined ? null
    : at < 0 ? el("p", { role: "alert" }, `This cell has no trial ${place.trial}.`)
      : await trialPart(record, at, context);
  const excerpts = record.groups.map(() => el("code"));
  // Once the trial has been laid out, which does not wait for other blocks.
  setTimeout(() => void fillExcerpts(data, record.groups, excerpts), 100);
  return el(
    "article",
    {},
    crumbs(context, [cellName(experiment, cell)]),
    el("h2", { tabindex: -1 }, cellName(experiment, cell)),
    cellFacts(record, experiment, cell),
    repliesPart(record, context, excerpts),
    trial,
    launchList(experiment, place, record.row.launches),
  );
}

/** @param {CellRecord} record @param {Experiment} experiment @param {number} cell */
function cellFacts({ row, trials }, experiment, cell) {
  const outcomes = ["passed", "failed", "rejected", "errored"].filter((name) => row[name]);
  const interval = row.low === undefined ? "none: repeats say nothing new" : `${decimal(row.low)} to ${decimal(row.high)} (${row.interval})`;
  /** @type {Map<string, number>} */
  const kinds = new Map();
  for (const kind of trials.kind ?? []) if (kind) kinds.set(kind, (kinds.get(kind) ?? 0) + 1);
  return [
    row.reason ? el("p", {}, `Not applicable: ${row.reason}. ${row.hint ?? ""}`) : null,
    row.unverified ? el("p", { class: "errored" }, row.unverified) : null,
    factList([
      ["success ratio", row.success_ratio === undefined ? null : decimal(row.success_ratio)],
      ["95 % interval", row.success_ratio === undefined ? null : interval],
      ["trials", `${count(row.trials ?? 0)} of ${count(row.planned ?? 0)} planned`],
      ["outcomes", outcomes.map((name, at) => [at ? ", " : "", outcomeCount(name, row[name])])],
      ["kinds", [...kinds].map(([kind, number]) => `${count(number)} × ${kind}`).join(", ")],
      ["distinct replies", row.distinct],
    ]),
    el(
      "details",
      {},
      el("summary", {}, "All that is known of this cell"),
      factList([
        ...experiment.axes.map((axis) => /** @type {[string, Child]} */ ([axis, valuesOf(experiment, axis, cell)])),
        ...Object.entries(row).filter(([name]) => !TOLD.has(name))
          .map(([name, value]) => /** @type {[string, Child]} */ ([name.replaceAll("_", " "), typeof value === "number" ? Number(value.toPrecision(4)) : String(value)])),
      ]),
    ),
  ];
}

/** @param {Experiment} experiment @param {string} axis @param {number} cell */
function valuesOf(experiment, axis, cell) {
  const at = experiment.points[axis].cells[cell];
  return typeof at === "number" && at >= 0 ? experiment.points[axis].values[at].label : null;
}

/** @param {CellRecord} record @param {Context} context @param {HTMLElement[]} excerpts */
function repliesPart({ groups, trials }, { data, place }, excerpts) {
  if (!groups.length) return el("p", {}, "Nothing has been measured of it.");
  return el(
    "section",
    { "aria-labelledby": "replies" },
    el("h3", { id: "replies" }, `Replies: ${counted(groups.length, "different one", "different ones")} in ${counted(trials.trial.length, "trial")}`),
    el("ol", { class: "replies" }, groups.map(({ record, trials: places }, at) => {
      const [first] = places;
      const kind = trials.kind[first];
      return el(
        "li",
        {},
        el("strong", {}, `${count(places.length)} × `),
        el("span", { class: trials.outcome[first] }, kind ? `${trials.outcome[first]}: ${kind}` : trials.outcome[first]),
        trials.reason[first] ? ` ${trials.reason[first]} ` : " ",
        excerpts[at],
        record >= data.records ? el("em", {}, " (text left out) ") : null,
        el("span", { class: "trials" }, places.slice(0, 20).map((one) => [" ", el(
          "a",
          { href: near(place, { cell: place.cell, trial: trials.trial[one] }), ...(trials.trial[one] === place.trial ? { "aria-current": "true" } : {}) },
          `trial ${trials.trial[one]}`,
        )]), places.length > 20 ? ` and ${count(places.length - 20)} more` : ""),
      );
    })),
  );
}

/** So many replies are shown in a line; the list of a cell may be long. */
const EXCERPTS = 200;
const EXCERPT = 160;

/**
 * Show the beginning of each reply, one after the other: their texts stand in several blocks.
 *
 * @param {Data} data
 * @param {CellRecord["groups"]} groups
 * @param {HTMLElement[]} holders
 */
async function fillExcerpts(data, groups, holders) {
  const wanted = groups.map(({ record }, at) => ({ record, at })).slice(0, EXCERPTS);
  for (const { record, at } of wanted.sort((one, other) => one.record - other.record)) {
    if (record >= data.records) continue;
    const { texts } = await data.record(record);
    const text = replyText(texts).trim();
    fill(holders[at], text.length > EXCERPT ? `${text.slice(0, EXCERPT)}…` : text);
  }
}

/** @param {CellRecord} record @param {number} at @param {Context} context */
async function trialPart(record, at, context) {
  const { data, experiment, place } = context;
  const trial = Object.fromEntries(Object.entries(record.trials).map(([name, values]) => [name, values[at]]));
  const sent = record.texts.requests[trial.request];
  const group = record.groups.find(({ trials }) => trials.includes(at));
  const lines = sent?.lines[trial.launch];
  const self = `${place.cell}:${place.trial}`;
  /** @type {Child} */
  let reply = el("p", {}, `Its texts are left out of this report, which was limited to ${data.index.left_out.max_mb} MB: --max-mb raises that.`);
  /** @type {Child} */
  let verdicts = null;
  if (group && group.record < data.records) {
    const { texts } = /** @type {{texts: Texts}} */ (await data.record(group.record));
    reply = replyParts(texts);
    verdicts = [el("h4", {}, "Checks"), verdictTable(texts)];
  }
  return el(
    "section",
    { "aria-labelledby": "trial", id: "trial-section" },
    el("h3", { id: "trial", tabindex: -1 }, `Trial ${place.trial}`),
    compareButtons(self, context),
    factList(trialFacts(trial)),
    el("h4", {}, "Sent"),
    sent ? promptParts(sent) : el("p", {}, "What was sent was not recorded."),
    el("h4", {}, "Came back"),
    reply,
    verdicts,
    el("h4", {}, "To see it again"),
    reproduceParts(lines, trial),
    el("p", { class: "quiet" }, "A rendered prompt is not stored. ",
      el("code", {}, `matrixbench try ${experiment.target} --where …`), " renders it anew."),
    el("p", {}, "It ran in ", el("a", { href: near(place, { launch: trial.launch }) }, `launch ${trial.launch}`), "."),
  );
}

/** @param {string} self @param {Context} context */
function compareButtons(self, { place, go }) {
  return el(
    "p",
    { class: "buttons" },
    place.left && place.left !== self
      ? button(`Compare with ${nameOf(place.left)}`, () => go({ left: place.left, right: self, what: self.includes(":") ? "reply" : "launch" }))
      : null,
    button(place.left === self ? "Chosen to be compared: now open another one" : "Choose to be compared", () => go({ ...place, left: self })),
  );
}

/** @param {string} side @returns {string} */
function nameOf(side) {
  const [cell, trial] = side.split(":");
  return trial === undefined ? `launch ${cell}` : `trial ${trial} of ${cell.slice(0, 8)}`;
}

/** @param {Experiment} experiment @param {Place} place @param {string | undefined} only numbers with blanks between */
export function launchList(experiment, place, only) {
  const wanted = only === undefined ? null : new Set(only.split(" ").map(Number));
  const shown = experiment.launches.filter(({ id }) => !wanted || wanted.has(id));
  if (!shown.length) return null;
  return el(
    "section",
    { "aria-labelledby": "launches" },
    el("h3", { id: "launches" }, "Launches"),
    el("ul", {}, shown.map(({ id, name, trials }) => el(
      "li",
      {},
      el("a", { href: near(place, { launch: id }) }, `launch ${id}: ${name}`),
      ` (${counted(trials, "trial")})`,
    ))),
  );
}

/** @param {Context} context @returns {Promise<Child>} */
export async function launchView(context) {
  const { data, experiment, place } = context;
  const entry = experiment.launches.find(({ id }) => id === place.launch);
  if (!entry) return missing("There is no such launch in this report.", context);
  const launch = await data.record(entry.record);
  const { build } = launch;
  return el(
    "article",
    {},
    crumbs(context, [`launch ${entry.id}`]),
    el("h2", { tabindex: -1 }, `Launch ${entry.id}: ${entry.name}`),
    compareButtons(String(entry.id), context),
    factList([
      ["experiment", launch.experiment],
      ["trials", `${count(entry.trials)} of those shown`],
      ["started", moment(launch.started_at)],
      ["ended", launch.ended_at === null ? "not, or it was killed" : moment(launch.ended_at)],
      ["given up", launch.error],
      ["request timeout", launch.imported ? null : `${launch.request_timeout_s} s`],
    ]),
    el("h3", {}, "Asked for, and in effect"),
    askedTable(launch),
    el("h3", {}, "Build"),
    build ? factList(flat(build)) : el("p", {}, "No server came up."),
    el("h3", {}, "Versions and hardware"),
    factList([...flat(launch.versions), ...flat(launch.host)]),
    el("h3", {}, "Command"),
    launch.command.length ? textBlock(launch.command.join("\n"), "command, a word a line") : el("p", { class: "quiet" }, "Nothing was started here."),
    Object.keys(launch.notes).length ? [el("h3", {}, "Found out under way"), factList(flat(launch.notes))] : null,
    el("h3", {}, "Log"),
    launch.log ? el("p", { class: "quiet" }, launch.log) : null,
    launch.log_tail ? textBlock(launch.log_tail, "the log's last lines") : el("p", { class: "quiet" }, "The log is not there any more, or there was none."),
  );
}

/** What an experiment's file calls a setting → what llama-server does. */
const THEIRS = /** @type {Record<string, string>} */ ({ context: "n_ctx", slots: "total_slots" });

/** @param {Record<string, any>} launch */
function askedTable({ asked: given, effective }) {
  const asked = Object.fromEntries(Object.entries(given).map(([name, value]) => {
    const theirs = THEIRS[name];
    return [theirs && theirs in effective ? theirs : name, value];
  }));
  const names = [...new Set([...Object.keys(asked), ...Object.keys(effective)])];
  if (!names.length) return el("p", { class: "quiet" }, "Nothing is known of it.");
  return el(
    "div",
    { class: "wide", tabindex: 0, role: "region", "aria-label": "Asked for, and in effect" },
    el(
      "table",
      {},
      el("thead", {}, el("tr", {}, ["setting", "asked for", "in effect"].map((name) => el("th", { scope: "col" }, name)))),
      el("tbody", {}, names.map((name) => el("tr", {}, el("th", { scope: "row" }, name), el("td", {}, plain(asked[name])), el("td", {}, plain(effective[name]))))),
    ),
  );
}

/** @param {Record<string, any>} values @param {string} [before] @returns {[string, Child][]} */
function flat(values, before = "") {
  return Object.entries(values).flatMap(([name, value]) =>
    value !== null && typeof value === "object" && !Array.isArray(value)
      ? flat(value, `${before}${name}.`)
      : /** @type {[string, Child][]} */ ([[`${before}${name}`, plain(value)]]));
}

/** @param {unknown} value */
function plain(value) {
  if (value === undefined || value === null) return "";
  return typeof value === "string" ? value : JSON.stringify(value);
}

/** @param {Context} context @returns {Promise<Child>} */
export async function compareView(context) {
  const { place, go } = context;
  const [left, right] = [place.left ?? "", place.right ?? ""];
  const launches = !left.includes(":");
  const what = launches ? "launch" : place.what === "prompt" || place.what === "launch" ? place.what : "reply";
  const sides = await Promise.all([left, right].map((side) => sideOf(side, what, context)));
  const [a, b] = sides;
  const found = difference(a.text, b.text);
  const same = found?.parts.every(({ side }) => side === "both");
  return el(
    "article",
    {},
    crumbs(context, ["side by side"]),
    el("h2", { tabindex: -1 }, "Side by side"),
    launches ? null : el("p", { class: "buttons" }, ["reply", "prompt", "launch"].map((one) =>
      button(one, () => go({ left, right, what: one }), { "aria-pressed": String(one === what) }))),
    el("p", { role: "status" }, !found ? "The texts are too long to be compared."
      : same ? "They are the same." : `Compared by ${found.by}: what is only on one side is marked.`),
    el("div", { class: "sides" }, sides.map(({ title, href, text }, at) => el(
      "section",
      { "aria-label": title },
      el("h3", {}, el("a", { href }, title)),
      found
        ? el("pre", { tabindex: 0, role: "group", "aria-label": title }, found.parts
          .filter(({ side }) => side === "both" || side === (at ? "right" : "left"))
          .map(({ side, text: part }) => (side === "both" ? part : el(at ? "ins" : "del", {}, part))))
        : textBlock(text, title),
    ))),
  );
}

/** @param {string} side @param {string} what @param {Context} context */
async function sideOf(side, what, { data, experiment, place }) {
  const [key, trialText] = side.split(":");
  if (trialText === undefined) return { ...(await launchSide(Number(key), data, experiment)), href: near(place, { launch: Number(key), left: undefined }) };
  const cell = cellNumber(experiment, key);
  const number = Number(trialText);
  const href = near(place, { cell: key, trial: number, left: undefined });
  if (cell < 0) return { title: side, text: "There is no such cell in this report.", href };
  /** @type {CellRecord} */
  const record = await data.record(experiment.records[cell]);
  const at = record.trials.trial?.indexOf(number) ?? -1;
  const title = `${cellName(experiment, cell)}, trial ${number}`;
  if (at < 0) return { title, text: "It has no such trial.", href };
  if (what === "launch") return { ...(await launchSide(record.trials.launch[at], data, experiment)), href };
  if (what === "prompt") return { title, text: promptText(record.texts.requests[record.trials.request[at]]), href };
  const group = record.groups.find(({ trials }) => trials.includes(at));
  if (!group || group.record >= data.records) return { title, text: "Left out of this report.", href };
  return { title, text: replyText((await data.record(group.record)).texts), href };
}

/** @param {number} id @param {Data} data @param {Experiment} experiment */
async function launchSide(id, data, experiment) {
  const entry = experiment.launches.find((one) => one.id === id);
  if (!entry) return { title: `launch ${id}`, text: "There is no such launch in this report." };
  const { log_tail: _, ...launch } = await data.record(entry.record);
  const lines = flat(launch).map(([name, value]) => `${name}: ${value}`);
  return { title: `launch ${id}: ${entry.name}`, text: lines.join("\n") };
}

/** @param {Context} context @param {string[]} names */
function crumbs({ place, experiment }, names) {
  return el("nav", { "aria-label": "Where you are", class: "crumbs" }, el("a", { href: near(place, {}) }, experiment.name), names.map((name) => [" › ", name]));
}

/** @param {string} text @param {Context} context */
function missing(text, context) {
  return el("article", {}, crumbs(context, []), el("h2", { tabindex: -1 }, "Not found"), el("p", {}, text));
}
