/** @file Charts: Vega's canvas, with squares that open by pointer and by keyboard. */

import { el, fill } from "./dom.js";

/**
 * @typedef {object} Square
 * @property {number[]} cells what it stands for: a cell, of a difference candidate and baseline
 * @property {number} x left edge within the canvas, in points
 * @property {number} y
 * @property {number} width
 * @property {number} height
 */
/** @typedef {{spec: any, places: number[][]}} ChartRecord what is drawn, and the cells of each place */

/**
 * Draw a chart.
 *
 * @param {HTMLElement} holder
 * @param {ChartRecord} record
 * @param {(cells: number[]) => string} describe a square in words
 * @param {(cells: number[]) => void} open
 */
export async function drawChart(holder, record, describe, open) {
  const canvas = el("div", { class: "canvas" });
  const cursor = el("div", { class: "cursor", hidden: true });
  const shade = el("canvas", { class: "shade" });
  const note = el("p", { class: "square-note", "aria-live": "polite" });
  const frame = el(
    "div",
    { class: "chart", tabindex: 0, role: "application", "aria-label": "Squares: arrow keys move, Enter opens" },
    canvas,
    shade,
    cursor,
  );
  fill(holder, frame, note);
  // The interpreter of expressions needs no eval, which the page's policy forbids.
  const { view } = await /** @type {any} */ (window).vegaEmbed(canvas, record.spec, {
    mode: "vega",
    ast: true,
    actions: false,
    defaultStyle: false,
    hover: false,
    renderer: "canvas",
    tooltip: () => undefined,
  });
  const squares = squaresOf(view, record.places);
  holder.dataset.squares = String(squares.length);
  let at = -1;

  /** @param {number} place */
  function select(place) {
    at = place;
    const square = squares[place];
    cursor.hidden = !square;
    fill(note, square ? describe(square.cells) : "");
    if (!square) return;
    const { offsetLeft, offsetTop } = /** @type {HTMLElement} */ (canvas.querySelector("canvas") ?? canvas);
    cursor.style.left = `${square.x + offsetLeft}px`;
    cursor.style.top = `${square.y + offsetTop}px`;
    cursor.style.width = `${square.width}px`;
    cursor.style.height = `${square.height}px`;
  }

  /** @param {MouseEvent} event */
  function under(event) {
    const box = (canvas.querySelector("canvas") ?? canvas).getBoundingClientRect();
    const [x, y] = [event.clientX - box.left, event.clientY - box.top];
    return squares.findIndex((one) => x >= one.x && x < one.x + one.width && y >= one.y && y < one.y + one.height);
  }

  holder.addEventListener("select-cells", (event) => {
    const kept = /** @type {CustomEvent<Set<number>>} */ (event).detail;
    shaded(shade, canvas.querySelector("canvas"), squares.filter(({ cells }) => !cells.some((cell) => kept.has(cell))));
  });
  canvas.addEventListener("mousemove", (event) => select(under(event)));
  canvas.addEventListener("mouseleave", () => select(-1));
  canvas.addEventListener("click", (event) => {
    const place = under(event);
    if (place >= 0) open(squares[place].cells);
  });
  frame.addEventListener("keydown", (event) => {
    const step = /** @type {Record<string, [number, number]>} */ ({
      ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1],
    })[event.key];
    if (step && squares.length) {
      event.preventDefault();
      select(at < 0 ? 0 : nearest(squares, at, step));
      cursor.scrollIntoView({ block: "nearest", inline: "nearest" });
    } else if (event.key === "Enter" && squares[at]) open(squares[at].cells);
  });
}

/**
 * Cover the squares that a filter leaves out.
 *
 * @param {HTMLCanvasElement} shade
 * @param {HTMLCanvasElement | null} drawn
 * @param {Square[]} squares
 */
function shaded(shade, drawn, squares) {
  shade.hidden = !drawn || !squares.length;
  if (!drawn || !squares.length) return;
  [shade.width, shade.height] = [drawn.offsetWidth, drawn.offsetHeight];
  [shade.style.left, shade.style.top] = [`${drawn.offsetLeft}px`, `${drawn.offsetTop}px`];
  const pen = /** @type {CanvasRenderingContext2D} */ (shade.getContext("2d"));
  pen.fillStyle = "rgba(255, 255, 255, 0.85)";
  for (const { x, y, width, height } of squares) pen.fillRect(x, y, width, height);
}

/** @param {Square[]} squares @param {number} from @param {[number, number]} step @returns {number} */
function nearest(squares, from, [right, down]) {
  const own = squares[from];
  let [best, least] = [from, Infinity];
  squares.forEach((one, place) => {
    const [x, y] = [one.x - own.x, one.y - own.y];
    const along = right ? x * right : y * down;
    if (along < 1) return;
    // Straight on before aside.
    const distance = along + 8 * Math.abs(right ? y : x);
    if (distance < least) [best, least] = [place, distance];
  });
  return best;
}

/** @param {any} view @param {number[][]} places @returns {Square[]} */
function squaresOf(view, places) {
  /** @type {Square[]} */
  const squares = [];
  const [left, top] = view.origin();
  /** @param {any} item @param {number} x @param {number} y @param {boolean} told */
  function walk(item, x, y, told) {
    if (item.marktype) {
      const named = told || /tooltips/.test(item.name ?? "");
      for (const inner of item.items) walk(inner, x, y, named);
    } else if (item.items) {
      for (const inner of item.items) walk(inner, x + (item.x ?? 0), y + (item.y ?? 0), told);
    } else if (told && places[item.datum?.place]) {
      const { x1, x2, y1, y2 } = item.bounds;
      squares.push({ cells: places[item.datum.place], x: x + x1 + left, y: y + y1 + top, width: x2 - x1, height: y2 - y1 });
    }
  }
  walk(view.scenegraph().root, 0, 0, false);
  return squares;
}
