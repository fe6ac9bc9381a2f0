/** @file Opens the report: reads the address, shows the place that it names, and follows it. */

import { ofPage, ofServer } from "./data.js";
import { button, el, fill, seen } from "./dom.js";
import { overview } from "./overview.js";
import { fragmentOf, near, placeOf } from "./router.js";
import { showHits } from "./search.js";
import { cellView, compareView, launchView } from "./views.js";

const main = /** @type {HTMLElement} */ (document.querySelector("main"));
const header = /** @type {HTMLElement} */ (document.querySelector("header"));
/** How often the server of a run is asked for more, in milliseconds. */
const POLL = 2000;

/** The view of a run that goes on takes its data from the server; everything else is in the page. */
const watched = document.documentElement.dataset.watched !== undefined;

/** @typedef {import("./router.js").Place} Place */
/** @typedef {import("./data.js").Data} Data */
/** @typedef {ReturnType<typeof overview>} Overview */

/** @type {Data} */
let data;
/** @type {Map<number, Overview>} */
const overviews = new Map();
const detail = el("div");
let searching = new AbortController();
let position = 0;

/** @param {Partial<Place>} to */
function go(to) {
  location.hash = near(placeOf(location.hash), to);
}

/** @param {Place} place */
function experimentOf(place) {
  return data.index.experiments[place.experiment] ?? data.index.experiments[0];
}

async function show() {
  searching.abort();
  searching = new AbortController();
  const { signal } = searching;
  const place = placeOf(location.hash);
  const experiment = experimentOf(place);
  const context = { data, experiment, place, go };
  drawHeader(place);
  document.title = seen(`${experiment.name}: report`);
  const inside = place.search || place.cell || place.launch !== undefined || place.right;
  if (!inside) return showOverview(place, context);
  if (!main.contains(detail)) position = scrollY;
  if (place.search) {
    fill(main, detail);
    await showHits(detail, data, place, signal);
    return undefined;
  }
  const view = place.right ? compareView : place.cell ? cellView : launchView;
  const made = await view(context);
  if (signal.aborted) return undefined;
  fill(detail, made);
  fill(main, detail);
  const heading = /** @type {HTMLElement | null} */ (detail.querySelector("#trial") ?? detail.querySelector("h2"));
  heading?.focus({ preventScroll: true });
  if (heading?.id === "trial") heading.scrollIntoView();
  else scrollTo(0, 0);
  return undefined;
}

/** @param {Place} place @param {import("./views.js").Context} context */
async function showOverview(place, context) {
  let kept = overviews.get(place.experiment);
  if (!kept) {
    kept = overview(context);
    overviews.set(place.experiment, kept);
    // Charts that are drawn later need to be told of the filter too.
    const { update, drawn } = kept;
    void drawn.then(() => { if (place.where) update(placeOf(location.hash)); });
  }
  kept.update(place);
  if (!main.contains(kept.shown)) {
    const back = main.contains(detail);
    fill(main, kept.shown);
    if (back) scrollTo(0, position);
  }
  await kept.drawn;
  document.documentElement.dataset.ready = "true";
}

/** @param {Place} place */
function drawHeader(place) {
  const { experiments, made, version, running } = data.index;
  const field = el("input", { id: "search", name: "search", type: "search", autocomplete: "off" });
  field.value = place.search ?? "";
  fill(
    header,
    el("h1", {}, el("a", { href: fragmentOf({ experiment: place.experiment }) }, experimentOf(place).name)),
    experiments.length > 1
      ? el("nav", { "aria-label": "Experiments" }, experiments.map((one, at) => el(
        "a",
        { href: fragmentOf({ experiment: at }), ...(at === place.experiment ? { "aria-current": "page" } : {}) },
        one.name,
      )))
      : null,
    el(
      "form",
      { role: "search", submit: (/** @type {Event} */ event) => { event.preventDefault(); go({ search: field.value }); } },
      el("label", { for: "search" }, "Search all texts"),
      field,
      el("button", { type: "submit" }, "Search"),
    ),
    el("p", { class: "quiet", role: watched ? "status" : "note" },
      running === undefined ? `Made by matrixbench ${version} at ${made}` : running ? "The run goes on: this page follows it." : "The run has ended."),
    place.left && !place.right
      ? el("p", { class: "chosen" }, "One is chosen to be compared: open another one. ", button("Forget it", () => go({ ...place, left: undefined })))
      : null,
  );
}

/** Ask the server of a run for what is new, until the run has ended. */
async function follow() {
  while (data.index.running) {
    await new Promise((due) => setTimeout(due, POLL));
    // Nobody loses what they are typing.
    if (document.activeElement instanceof HTMLInputElement) continue;
    const fresh = await ofServer().catch(() => null);
    const { revision, running } = data.index;
    if (!fresh) data.index.running = false;
    else if (fresh.index.revision === revision && fresh.index.running === running) continue;
    else data = fresh;
    overviews.clear();
    // What is being read stays as it is, and so does its place on the screen.
    if (main.contains(detail)) drawHeader(placeOf(location.hash));
    else {
      const top = scrollY;
      await show();
      scrollTo(0, top);
    }
  }
}

async function start() {
  data = await (watched ? ofServer() : Promise.resolve(ofPage()));
  addEventListener("hashchange", () => void show());
  await show();
  document.documentElement.dataset.ready = "true";
  if (watched) await follow();
}

void start();
