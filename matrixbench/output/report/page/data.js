/** @file The report's data: an index that is there at once, and records in packed blocks. */

/**
 * Records are lines of JSON, numbered from 0. A block holds some of them in a row, as gzip in base64.
 *
 * @typedef {object} Index
 * @property {string} made when the report was made
 * @property {string} version
 * @property {number[]} blocks the number of each block's first record, and at the end how many there are
 * @property {{replies: number, trials: number, max_mb: number}} left_out
 * @property {Experiment[]} experiments
 * @property {number} [revision] of a report that is watched: grows with its content
 * @property {boolean} [running] whether that run goes on
 */
/**
 * @typedef {object} Experiment
 * @property {string} name
 * @property {string} target how the command line names it
 * @property {string} description
 * @property {[string, string][]} facts
 * @property {Answer} answer
 * @property {ChartEntry[]} charts
 * @property {string[]} axes
 * @property {string[]} bare those whose values speak for themselves
 * @property {Record<string, {values: import("./where.js").Value[], cells: (number | number[])[]}>} points
 *   axis, suite or tag → its values, and which of them each cell has; -1 for none
 * @property {Column[]} columns
 * @property {string[]} cells the key of each cell
 * @property {number[]} records the record of each cell
 * @property {{id: number, name: string, trials: number, record: number}[]} launches
 */
/**
 * @typedef {object} Answer
 * @property {string[]} lines
 * @property {{by: string[], rows: Record<string, any>[], notes: string[]} | null} rank
 * @property {{name: string, baseline: string, verdict: string, lines: string[]}[]} gate
 * @property {string[]} undecided
 */
/** @typedef {{name: string, title: string, record: number, width: number}} ChartEntry */
/**
 * @typedef {{name: string, title: string, kind: "ratio" | "count" | "seconds" | "number" | "text",
 *   values: (number | string | null)[]}} Column
 */

/** Blocks that stay unpacked: of two replies that are compared, and of their cells. */
const KEPT = 4;

export class Data {
  /**
   * @param {Index} index
   * @param {(block: number) => Promise<string>} packed gives a block as it is kept
   */
  constructor(index, packed) {
    this.index = index;
    this.packed = packed;
    /** @type {Map<number, Promise<string[]>>} */
    this.open = new Map();
  }

  get records() {
    return /** @type {number} */ (this.index.blocks.at(-1));
  }

  /** @param {number} number @returns {Promise<any>} */
  async record(number) {
    const block = this.blockOf(number);
    const lines = await this.lines(block);
    return JSON.parse(lines[number - this.index.blocks[block]]);
  }

  /** @param {number} number */
  blockOf(number) {
    const { blocks } = this.index;
    let [low, high] = [0, blocks.length - 1];
    while (high - low > 1) {
      const middle = (low + high) >> 1;
      if (blocks[middle] <= number) low = middle;
      else high = middle;
    }
    return low;
  }

  /** @param {number} block */
  lines(block) {
    const kept = this.open.get(block) ?? this.unpack(block).then((text) => text.split("\n"));
    this.open.delete(block);
    this.open.set(block, kept);
    for (const oldest of this.open.keys()) {
      if (this.open.size <= KEPT) break;
      this.open.delete(oldest);
    }
    return kept;
  }

  /** @param {number} block */
  async unpack(block) {
    const bytes = fromBase64(await this.packed(block));
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
    return new Response(stream).text();
  }

  /**
   * Yield the records that hold a text, block after block, as they are found.
   *
   * @param {string} text
   * @param {AbortSignal} signal
   * @returns {AsyncGenerator<{searched: number, found: {number: number, record: any}[]}>}
   */
  async *search(text, signal) {
    const wanted = text.toLowerCase();
    // As it stands in the JSON of a string, so that most lines need not be parsed.
    const written = JSON.stringify(wanted).slice(1, -1);
    const { blocks } = this.index;
    let next = blocks.length > 1 ? this.unpack(0) : null;
    for (let block = 0; next && !signal.aborted; block++) {
      const unpacked = await next;
      next = block + 2 < blocks.length ? this.unpack(block + 1) : null;
      /** @type {{number: number, record: any}[]} */
      const found = [];
      if (unpacked.toLowerCase().includes(written)) {
        unpacked.split("\n").forEach((line, place) => {
          if (!line.toLowerCase().includes(written)) return;
          const record = JSON.parse(line);
          if (record.cell !== undefined && holds(record.texts, wanted)) {
            found.push({ number: blocks[block] + place, record });
          }
        });
      }
      yield { searched: (block + 1) / (blocks.length - 1), found };
    }
  }
}

/** @param {any} value @param {string} wanted @returns {boolean} whether some text in it holds it */
function holds(value, wanted) {
  if (typeof value === "string") return value.toLowerCase().includes(wanted);
  return typeof value === "object" && value !== null && Object.values(value).some((one) => holds(one, wanted));
}

/** @param {string} text @returns {Uint8Array<ArrayBuffer>} */
function fromBase64(text) {
  const direct = /** @type {any} */ (Uint8Array).fromBase64;
  if (direct) return direct.call(Uint8Array, text);
  const raw = atob(text);
  const bytes = new Uint8Array(raw.length);
  for (let at = 0; at < raw.length; at++) bytes[at] = raw.charCodeAt(at);
  return bytes;
}

/** @returns {Data} the data that stand in this page */
export function ofPage() {
  const text = /** @type {HTMLElement} */ (document.getElementById("index")).textContent ?? "";
  return new Data(JSON.parse(text), async (block) => {
    const held = () => document.getElementById(`block-${block}`)?.textContent;
    if (document.readyState === "loading" && !held()) {
      await new Promise((ready) => document.addEventListener("DOMContentLoaded", ready, { once: true }));
    }
    return held() ?? "";
  });
}

/** @returns {Promise<Data>} the present data of the run that is watched */
export async function ofServer() {
  const answer = await fetch("index", { cache: "no-store" });
  if (!answer.ok) throw new Error(`the server answers ${answer.status}`);
  /** @type {Index} */
  const index = await answer.json();
  const fetched = async (/** @type {number} */ block) => (await fetch(`block/${index.revision}/${block}`)).text();
  if (index.running) return new Data(index, fetched);
  // The server ends with the run: what it had last is kept here.
  const kept = await Promise.all(index.blocks.slice(1).map((_, block) => fetched(block)));
  return new Data(index, async (block) => kept[block]);
}
