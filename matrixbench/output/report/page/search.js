/** @file Looking for a text in all replies and prompts. */

import { counted, el, fill } from "./dom.js";
import { near } from "./router.js";
import { cellName } from "./views.js";

const SHOWN = 200;
const AROUND = 60;

/**
 * Fill a list with what is found, as it is found; resolves when all has been searched.
 *
 * @param {HTMLElement} holder
 * @param {import("./data.js").Data} data
 * @param {import("./router.js").Place} place
 * @param {AbortSignal} signal
 */
export async function showHits(holder, data, place, signal) {
  const text = place.search ?? "";
  const said = el("p", { role: "status" });
  const list = el("ol", { class: "replies" });
  fill(holder, el("h2", { tabindex: -1 }, `Search: ${text}`), said, list);
  let hits = 0;
  for await (const { searched, found } of data.search(text, signal)) {
    for (const { record } of found) {
      const experiment = data.index.experiments[record.experiment];
      if (hits++ >= SHOWN) continue;
      const cell = experiment.cells[record.cell];
      const name = `${cellName(experiment, record.cell)}${record.trial === undefined ? ", sent" : `, trial ${record.trial}`}`;
      list.append(el(
        "li",
        {},
        el("a", { href: near({ ...place, experiment: record.experiment }, { cell, trial: record.trial }) }, name),
        " ",
        el("code", {}, around(record.texts, text.toLowerCase()) ?? ""),
      ));
    }
    const more = hits > SHOWN ? `, the first ${SHOWN} are shown` : "";
    fill(said, searched < 1 ? `${Math.round(searched * 100)} % searched, ${counted(hits, "hit")}` : `${counted(hits, "hit")}${more}`);
  }
}

/** @param {any} value @param {string} wanted @returns {string | null} the text around the first place */
function around(value, wanted) {
  if (typeof value === "string") {
    const at = value.toLowerCase().indexOf(wanted);
    if (at < 0) return null;
    const start = Math.max(0, at - AROUND);
    return `${start ? "…" : ""}${value.slice(start, at + wanted.length + AROUND)}`;
  }
  if (typeof value !== "object" || value === null) return null;
  for (const one of Object.values(value)) {
    const found = around(one, wanted);
    if (found !== null) return found;
  }
  return null;
}
