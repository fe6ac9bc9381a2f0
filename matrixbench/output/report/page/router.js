/** @file Where the reader is, kept in the address's fragment: a link or a reload opens it again. */

/**
 * @typedef {object} Place
 * @property {number} experiment
 * @property {string} [cell] the cell that is open
 * @property {number} [trial] the trial of it that is open
 * @property {number} [launch] the launch that is open
 * @property {string} [left] one side of a comparison: `cell:trial`, or a launch's number
 * @property {string} [right]
 * @property {string} [what] what of them is compared: reply, prompt or launch
 * @property {string} [where] the filter
 * @property {string} [search] the text that is looked for
 * @property {string} [sort] column that the table is sorted by; `-` before it: downwards
 */

const TEXTS = /** @type {const} */ (["cell", "left", "right", "what", "where", "search", "sort"]);
const NUMBERS = /** @type {const} */ (["trial", "launch"]);

/** @param {string} fragment @returns {Place} */
export function placeOf(fragment) {
  const given = new URLSearchParams(fragment.replace(/^#/, ""));
  /** @type {Place} */
  const place = { experiment: whole(given.get("experiment")) ?? 0 };
  for (const name of TEXTS) {
    const value = given.get(name);
    if (value) place[name] = value;
  }
  for (const name of NUMBERS) {
    const value = whole(given.get(name));
    if (value !== undefined) place[name] = value;
  }
  return place;
}

/** @param {string | null} text */
function whole(text) {
  return text !== null && /^\d{1,15}$/.test(text) ? Number(text) : undefined;
}

/** @param {Place} place @returns {string} */
export function fragmentOf(place) {
  const told = new URLSearchParams();
  if (place.experiment) told.set("experiment", String(place.experiment));
  for (const name of [...TEXTS, ...NUMBERS]) {
    if (place[name] !== undefined && place[name] !== "") told.set(name, String(place[name]));
  }
  return `#${told}`;
}

/**
 * Return the fragment of a place near another: filter and order stay, and what was chosen to be
 * compared until it is.
 *
 * @param {Place} from
 * @param {Partial<Place>} to
 */
export function near(from, to) {
  const { experiment, where, sort } = from;
  const left = from.right ? undefined : from.left;
  return fragmentOf({ experiment, where, sort, left, ...to });
}
