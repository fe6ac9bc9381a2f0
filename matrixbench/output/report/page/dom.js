/** @file Builds elements from data. Whatever comes from outside ends up in a text node. */

/** @typedef {Node | string | number | null | undefined | Child[]} Child */

// What turns lines around, hides itself, or is no sign at all; as `matrixbench.safe_text` has it.
const UNSEEN =
  /[\0-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufdd0-\ufdef\ufeff\ufff9-\uffff\u{e0000}-\u{e007f}\ud800-\udfff]/gu;

/**
 * Return an element.
 *
 * @template {keyof HTMLElementTagNameMap} Tag
 * @param {Tag} tag
 * @param {Record<string, string | number | boolean | ((event: any) => void)>} [attributes] a function
 *   listens to the event of that name; `true` is an empty attribute, `false` none
 * @param {...Child} children
 * @returns {HTMLElementTagNameMap[Tag]}
 */
export function el(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") made.addEventListener(name, value);
    else if (name === "href" && !String(value).startsWith("#")) throw new Error("a link leaves");
    else if (value !== false) made.setAttribute(name, value === true ? "" : String(value));
  }
  append(made, children);
  return made;
}

/** @param {Node} parent @param {Child[]} children */
function append(parent, children) {
  for (const child of children) {
    if (Array.isArray(child)) append(parent, child);
    else if (child instanceof Node) parent.appendChild(child);
    else if (child !== null && child !== undefined) parent.appendChild(document.createTextNode(seen(child)));
  }
}

/** @param {Element} parent @param {...Child} children */
export function fill(parent, ...children) {
  parent.replaceChildren();
  append(parent, children);
}

/**
 * Return a text in which whatever would hide or turn the line around stands as an escape.
 *
 * @param {string | number} value
 */
export function seen(value) {
  return String(value).replace(UNSEEN, (sign) => {
    const code = /** @type {number} */ (sign.codePointAt(0));
    const hex = code.toString(16);
    if (code < 0x100) return `\\x${hex.padStart(2, "0")}`;
    return code < 0x10000 ? `\\u${hex.padStart(4, "0")}` : `\\U${hex.padStart(8, "0")}`;
  });
}

/** A longer text is shown in part at first: layout takes long for a line of a megabyte. */
const SHOWN = 20_000;

/**
 * Return a block that shows a text as it is.
 *
 * @param {string} text
 * @param {string} [name] what a screen reader calls it
 */
export function textBlock(text, name = "text") {
  const block = el("pre", { tabindex: 0, role: "group", "aria-label": name }, text.slice(0, SHOWN));
  if (text.length <= SHOWN) return block;
  const rest = el(
    "button",
    { type: "button", click: () => { fill(block, text); rest.remove(); } },
    `Show all ${count(text.length)} characters`,
  );
  return el("div", {}, block, rest);
}

/**
 * Return a list of names with their values; what has no value is left out.
 *
 * @param {Iterable<[string, Child]>} facts
 */
export function factList(facts) {
  const list = el("dl");
  for (const [name, value] of facts) {
    if (value === null || value === undefined || value === "") continue;
    list.append(el("div", {}, el("dt", {}, name), el("dd", {}, value)));
  }
  return list;
}

/** @param {string} label @param {() => void} act @param {Record<string, string | boolean>} [attributes] */
export function button(label, act, attributes = {}) {
  return el("button", { type: "button", ...attributes, click: act }, label);
}

const WHOLE = new Intl.NumberFormat("en");
const FOUR_DIGITS = new Intl.NumberFormat("en", { maximumSignificantDigits: 4 });

/** @param {number} value */
export function count(value) {
  return WHOLE.format(value);
}

/** @param {number} number @param {string} word @param {string} [many] */
export function counted(number, word, many = `${word}s`) {
  return `${count(number)} ${number === 1 ? word : many}`;
}

/** @param {number | null | undefined} value @param {number} [digits] */
export function decimal(value, digits = 3) {
  return value === null || value === undefined ? "–" : value.toFixed(digits);
}

/**
 * Return a number of four digits that count, without an exponent.
 *
 * @param {number} value
 */
export function rounded(value) {
  return FOUR_DIGITS.format(value);
}

/** @param {number} seconds a point of time, Unix */
export function moment(seconds) {
  return new Date(seconds * 1000).toISOString().replace("T", " ").replace(/\.\d+Z/, " UTC");
}
