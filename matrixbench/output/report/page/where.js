/** @file The language of `--where`, as `matrixbench.plan.selector` reads it. */

/**
 * A value of an axis: its type, its label, and its number where it is one.
 *
 * @typedef {{type: "text" | "number" | "bool" | "null" | "other", label: string, number?: number}} Value
 */
/** @typedef {(axis: string) => Value[]} Cell the values of one cell: several only of its tags */
/** @typedef {(cell: Cell) => boolean} Predicate */
/** @typedef {string | number | boolean | null | Wanted[] | Record<string, never>} Wanted */
/** @typedef {{kind: "op" | "punct" | "quoted" | "word", text: string, at: number}} Token */

const TOKEN = /\s*(?:(=~|!~|==|!=|<=|>=|=|<|>)|([(),])|"([^"]*)"|'([^']*)'|([^\s()=!<>~,"']+))/y;
const NUMBER = /^[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?$/;
const DEEPEST = 64;

export class WhereError extends Error {}

/**
 * Return the predicate of an expression; an empty one selects everything.
 *
 * @param {string} text
 * @param {string[]} axes the names that may be compared
 * @returns {Predicate}
 */
export function parseWhere(text, axes) {
  return text.trim() ? new Parser(text, new Set(axes)).parse() : () => true;
}

/** Recursive descent over the tokens of one expression. */
class Parser {
  /** @param {string} text @param {Set<string>} axes */
  constructor(text, axes) {
    this.text = text.trimEnd();
    this.axes = axes;
    this.depth = 0;
    this.next = 0;
    this.tokens = this.split();
  }

  /** @returns {Predicate} */
  parse() {
    const predicate = this.either();
    const token = this.tokens[this.next];
    if (token) throw this.error(`«${token.text}» is not expected here`, token.at);
    return predicate;
  }

  split() {
    /** @type {Token[]} */
    const tokens = [];
    let at = 0;
    while (at < this.text.length) {
      TOKEN.lastIndex = at;
      const found = TOKEN.exec(this.text);
      if (!found) throw this.error(`«${this.text.slice(at).trim().slice(0, 20)}» cannot be read`, at);
      const [whole, op, punct, double, single, word] = found;
      const text = op ?? punct ?? double ?? single ?? word;
      const kind = op !== undefined ? "op" : punct !== undefined ? "punct" : word !== undefined ? "word" : "quoted";
      tokens.push({ kind, text, at: at + whole.length - text.length });
      at += whole.length;
    }
    return tokens;
  }

  /** @param {string} what */
  take(what) {
    const token = this.tokens[this.next++];
    if (!token) throw this.error(`${what} is missing at the end`, this.text.length);
    return token;
  }

  /** @param {Token["kind"]} kind @param {string} text */
  skip(kind, text) {
    const token = this.tokens[this.next];
    if (token?.kind !== kind || token.text !== text) return false;
    this.next++;
    return true;
  }

  /** @returns {Predicate} */
  either() {
    const parts = [this.both()];
    while (this.skip("word", "or")) parts.push(this.both());
    return (cell) => parts.some((part) => part(cell));
  }

  /** @returns {Predicate} */
  both() {
    const parts = [this.negated()];
    while (this.skip("word", "and")) parts.push(this.negated());
    return (cell) => parts.every((part) => part(cell));
  }

  /** @returns {Predicate} */
  negated() {
    if (this.skip("word", "not")) {
      const inner = this.deeper(() => this.negated());
      return (cell) => !inner(cell);
    }
    if (!this.skip("punct", "(")) return this.comparison();
    const inner = this.deeper(() => this.either());
    if (!this.skip("punct", ")")) throw this.error("a closing parenthesis is missing", this.text.length);
    return inner;
  }

  /** @param {() => Predicate} part */
  deeper(part) {
    if (this.depth >= DEEPEST) {
      throw this.error(`more than ${DEEPEST} levels are too deep`, this.tokens[this.next - 1].at);
    }
    this.depth++;
    const inner = part();
    this.depth--;
    return inner;
  }

  /** @returns {Predicate} */
  comparison() {
    const token = this.take("a comparison");
    const axis = token.text;
    if (token.kind !== "word") throw this.error(`an axis is expected, not «${axis}»`, token.at);
    if (!this.axes.has(axis)) {
      throw new WhereError(`the experiment has no axis «${axis}»; its axes are ${[...this.axes].join(", ")}`);
    }
    if (this.skip("word", "in")) return this.membership(axis);
    const sign = this.take("a comparison sign");
    if (sign.kind !== "op") throw this.error(`a comparison is expected, not «${sign.text}»`, sign.at);
    return compare(axis, sign, this.value(), (message) => this.error(message, sign.at));
  }

  /** @param {string} axis @returns {Predicate} */
  membership(axis) {
    if (!this.skip("punct", "(")) {
      throw this.error("after `in` a list in parentheses is expected", this.text.length);
    }
    const wanted = [this.value()];
    while (this.skip("punct", ",")) wanted.push(this.value());
    if (!this.skip("punct", ")")) throw this.error("a closing parenthesis is missing", this.text.length);
    return (cell) => wanted.some((one) => matches(one, cell(axis)));
  }

  /** @returns {Wanted} */
  value() {
    const token = this.take("a value");
    if (token.kind !== "word" && token.kind !== "quoted") {
      throw this.error(`a value is expected, not «${token.text}»`, token.at);
    }
    return token.kind === "word" ? scalar(token.text) : token.text;
  }

  /** @param {string} message @param {number} at */
  error(message, at) {
    return new WhereError(`${message} (column ${at + 1}); for example: temperature<=1 and test=~weather`);
  }
}

/** @param {string} text @returns {Wanted} what a bare word means, numbers as YAML 1.2 reads them */
function scalar(text) {
  if (NUMBER.test(text)) return Number(text);
  const constants = { NaN, Infinity, "-Infinity": -Infinity };
  if (text in constants) return constants[/** @type {keyof typeof constants} */ (text)];
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}

/**
 * @param {string} axis
 * @param {Token} sign
 * @param {Wanted} wanted
 * @param {(message: string) => WhereError} error
 * @returns {Predicate}
 */
function compare(axis, sign, wanted, error) {
  switch (sign.text) {
    case "=":
    case "==":
      return (cell) => matches(wanted, cell(axis));
    case "!=":
      return (cell) => !matches(wanted, cell(axis));
    case "=~":
    case "!~": {
      const pattern = regex(labelOf(wanted), error);
      return (cell) => cell(axis).some((value) => pattern.test(value.label)) === (sign.text === "=~");
    }
    default: {
      if (typeof wanted !== "number") {
        throw error(`«${sign.text}» compares numbers, not «${labelOf(wanted)}»`);
      }
      const holds = {
        "<": (/** @type {number} */ found) => found < wanted,
        "<=": (/** @type {number} */ found) => found <= wanted,
        ">": (/** @type {number} */ found) => found > wanted,
        ">=": (/** @type {number} */ found) => found >= wanted,
      }[sign.text];
      return (cell) => cell(axis).some((value) => value.number !== undefined && holds?.(value.number) === true);
    }
  }
}

/** @param {Wanted} wanted */
function labelOf(wanted) {
  return typeof wanted === "string" ? wanted : JSON.stringify(wanted);
}

/** @param {Wanted} wanted @param {Value[]} values @returns {boolean} */
function matches(wanted, values) {
  if (Array.isArray(wanted)) return wanted.some((one) => matches(one, values));
  return values.some((value) => {
    switch (typeof wanted) {
      case "string":
        return wanted === value.label || (/[*?[]/.test(wanted) && glob(wanted).test(value.label));
      case "number":
        return value.number === wanted;
      case "boolean":
        return value.type === "bool" && value.label === String(wanted);
      default:
        return wanted === null ? value.type === "null" : value.label === "{}" && value.type === "other";
    }
  });
}

/** @type {Map<string, RegExp>} */
const globs = new Map();

/** @param {string} pattern as Python's fnmatch reads it */
function glob(pattern) {
  const known = globs.get(pattern);
  if (known) return known;
  const signs = [...pattern];
  let written = "";
  for (let at = 0; at < signs.length; at++) {
    const sign = signs[at];
    if (sign === "*") written += ".*";
    else if (sign === "?") written += ".";
    else if (sign === "[") {
      const first = at + 1 + (signs[at + 1] === "!" ? 1 : 0);
      const end = signs.indexOf("]", first + (signs[first] === "]" ? 1 : 0));
      if (end < 0) written += "\\[";
      else {
        written += oneOf(signs.slice(first, end), signs[at + 1] === "!");
        at = end;
      }
    } else written += escaped(sign);
  }
  const made = new RegExp(`^(?:${written})$`, "su");
  globs.set(pattern, made);
  return made;
}

/** @param {string[]} signs @param {boolean} negated */
function oneOf(signs, negated) {
  let written = "";
  for (let at = 0; at < signs.length; at++) {
    const last = signs[at + 1] === "-" ? signs[at + 2] : undefined;
    if (last === undefined) written += escaped(signs[at], true);
    else {
      // A range that runs backwards holds nothing.
      if (signs[at] <= last) written += `${escaped(signs[at], true)}-${escaped(last, true)}`;
      at += 2;
    }
  }
  if (!written) return negated ? "." : "(?!)";
  return `[${negated ? "^" : ""}${written}]`;
}

/** @param {string} sign @param {boolean} [inClass] */
function escaped(sign, inClass = false) {
  return /[\^$\\.*+?()[\]{}|/]/.test(sign) || (inClass && sign === "-") ? `\\${sign}` : sign;
}

/** Escapes that mean more in Python than in JavaScript; in a class they stand without brackets. */
const CLASSES = /** @type {Record<string, string>} */ ({
  d: "\\p{Nd}",
  w: "\\p{L}\\p{N}_",
  s: "\\s\\x1c-\\x1f\\x85",
});

/**
 * @param {string} pattern a regular expression of Python's
 * @param {(message: string) => WhereError} error
 */
function regex(pattern, error) {
  let flags = "u";
  let written = "";
  let inClass = false;
  const inline = /^\(\?([aimsux]+)\)/.exec(pattern);
  if (inline) {
    flags += [...inline[1]].filter((flag) => "ims".includes(flag)).join("");
    pattern = pattern.slice(inline[0].length);
  }
  for (let at = 0; at < pattern.length; at++) {
    const sign = pattern[at];
    if (sign === "\\") {
      const next = pattern[++at] ?? "";
      const set = CLASSES[next.toLowerCase()];
      if (set) written += inClass ? (next in CLASSES ? set : `\\${next}`) : `[${next in CLASSES ? "" : "^"}${set}]`;
      else if (next === "A" || next === "Z") written += next === "A" ? "^" : "$";
      else written += /[A-Za-z0-9]/.test(next) ? `\\${next}` : escaped(next, inClass);
    } else if (inClass) {
      if (sign === "]") inClass = false;
      written += "[/".includes(sign) ? `\\${sign}` : sign;
    } else if (sign === "[") {
      inClass = true;
      written += sign;
      if (pattern[at + 1] === "^") written += pattern[++at];
      if (pattern[at + 1] === "]") written += `\\${pattern[++at]}`;
    } else if (pattern.startsWith("(?P<", at)) {
      written += "(?<";
      at += 3;
    } else if (sign === "{" && !/^\{\d*,?\d*\}/.test(pattern.slice(at))) written += "\\{";
    else if (sign === "}" && !/\{\d*,?\d*$/.test(pattern.slice(0, at))) written += "\\}";
    else if (sign === "]") written += "\\]";
    else written += sign;
  }
  try {
    return new RegExp(written, flags);
  } catch (reason) {
    throw error(`the regular expression is wrong, or the browser lacks a part of it: ${/** @type {Error} */ (reason).message}`);
  }
}
