/** @file Differences of two texts by words, as Python's difflib finds them. */

/** @typedef {["equal" | "replace" | "delete" | "insert", number, number, number, number]} Opcode */

/** Above so many parts the search takes longer than a reader waits. */
const MOST_PARTS = 6000;

/**
 * Split a text into words, blanks and single other signs.
 *
 * @param {string} text
 * @returns {string[]}
 */
export function words(text) {
  return text.match(/[\p{L}\p{N}_]+|\s+|[^\p{L}\p{N}_\s]/gu) ?? [];
}

/**
 * Return how `a` becomes `b`: what `difflib.SequenceMatcher(None, a, b, autojunk=False)` calls its
 * opcodes.
 *
 * @param {string[]} a
 * @param {string[]} b
 * @returns {Opcode[]}
 */
export function opcodes(a, b) {
  /** @type {Opcode[]} */
  const found = [];
  let [i, j] = [0, 0];
  for (const [ai, bj, size] of [...matchingBlocks(a, b), [a.length, b.length, 0]]) {
    const tag = i < ai ? (j < bj ? "replace" : "delete") : j < bj ? "insert" : null;
    if (tag) found.push([tag, i, ai, j, bj]);
    if (size) found.push(["equal", ai, ai + size, bj, bj + size]);
    [i, j] = [ai + size, bj + size];
  }
  return found;
}

/**
 * @param {string[]} a
 * @param {string[]} b
 * @returns {[number, number, number][]} start in `a`, start in `b`, size; neighbours joined
 */
function matchingBlocks(a, b) {
  /** @type {Map<string, number[]>} */
  const places = new Map();
  b.forEach((part, j) => {
    const known = places.get(part);
    if (known) known.push(j);
    else places.set(part, [j]);
  });
  // Length of the match that ends at place j - 1 of `b`, and at the present part of `a`.
  let ending = new Int32Array(b.length + 1);
  let next = new Int32Array(b.length + 1);

  /** @param {number} alo @param {number} ahi @param {number} blo @param {number} bhi */
  function longest(alo, ahi, blo, bhi) {
    let [besti, bestj, size] = [alo, blo, 0];
    /** @type {number[]} */
    let touched = [];
    for (let i = alo; i < ahi; i++) {
      /** @type {number[]} */
      const now = [];
      for (const j of places.get(a[i]) ?? []) {
        if (j < blo) continue;
        if (j >= bhi) break;
        const length = ending[j] + 1;
        next[j + 1] = length;
        now.push(j + 1);
        if (length > size) [besti, bestj, size] = [i - length + 1, j - length + 1, length];
      }
      for (const place of touched) ending[place] = 0;
      [ending, next] = [next, ending];
      touched = now;
    }
    for (const place of touched) ending[place] = 0;
    return [besti, bestj, size];
  }

  /** @type {[number, number, number][]} */
  const blocks = [];
  const queue = [[0, a.length, 0, b.length]];
  for (let part = queue.pop(); part; part = queue.pop()) {
    const [alo, ahi, blo, bhi] = part;
    const [i, j, size] = longest(alo, ahi, blo, bhi);
    if (!size) continue;
    blocks.push([i, j, size]);
    if (alo < i && blo < j) queue.push([alo, i, blo, j]);
    if (i + size < ahi && j + size < bhi) queue.push([i + size, ahi, j + size, bhi]);
  }
  blocks.sort((one, other) => one[0] - other[0] || one[1] - other[1]);
  /** @type {[number, number, number][]} */
  const joined = [];
  for (const [i, j, size] of blocks) {
    const last = joined.at(-1);
    if (last && last[0] + last[2] === i && last[1] + last[2] === j) last[2] += size;
    else joined.push([i, j, size]);
  }
  return joined;
}

/**
 * Return what two texts share and what is on one side only, by words, or by lines where there are
 * too many words.
 *
 * @param {string} left
 * @param {string} right
 * @returns {{by: string, parts: {side: "both" | "left" | "right", text: string}[]} | null} null: too long
 */
export function difference(left, right) {
  for (const [by, split] of /** @type {const} */ ([["words", words], ["lines", lines]])) {
    const [a, b] = [split(left), split(right)];
    if (Math.max(a.length, b.length) > MOST_PARTS) continue;
    /** @type {{side: "both" | "left" | "right", text: string}[]} */
    const parts = [];
    for (const [tag, i, iEnd, j, jEnd] of opcodes(a, b)) {
      if (tag === "equal") parts.push({ side: "both", text: a.slice(i, iEnd).join("") });
      else {
        if (i < iEnd) parts.push({ side: "left", text: a.slice(i, iEnd).join("") });
        if (j < jEnd) parts.push({ side: "right", text: b.slice(j, jEnd).join("") });
      }
    }
    return { by, parts };
  }
  return null;
}

/** @param {string} text */
function lines(text) {
  return text.match(/[^\n]*\n|[^\n]+/g) ?? [];
}
