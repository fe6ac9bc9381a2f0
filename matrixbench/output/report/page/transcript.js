/** @file One trial whole: what was sent, what came back, what each check said, and how to repeat it. */

import { count, counted, el, factList, moment, rounded, textBlock } from "./dom.js";

/** @typedef {import("./dom.js").Child} Child */
/** @typedef {{name: string, arguments: string, id: string | null}} Call */
/** @typedef {{content: string | null, reasoning: string | null, tool_calls: Call[]}} Reply */
/**
 * @typedef {Reply & {rendered_prompt?: string, raw_output?: string, finish_reason: string | null,
 *   latency_s: number | null, prompt_tokens: number | null, completion_tokens: number | null,
 *   usage: Record<string, number | null>, then: Record<string, any>[]}} Turn
 */
/**
 * @typedef {Reply & {earlier: Turn[], turn_limit: boolean, message: Record<string, any> | null,
 *   attempts: {turn: number, kind: string | null, reason: string, body: string | null}[],
 *   verdicts: {check: string, passed: boolean, kind: string | null, reason: string | null, score: number | null}[],
 *   notes: {kind: string, text: string}[]}} Texts
 */
/** @typedef {{body: Record<string, any> | null, lines: Record<string, Lines>}} Sent */
/** @typedef {{server: string, request: [string, string] | null, note: string}} Lines the seed stands between the two parts */

/** Name of a trial's figure → what people call it, and its unit. */
const FIGURES = /** @type {[string, string, string][]} */ ([
  ["latency_s", "latency", " s"],
  ["time_to_first_token_s", "first token after", " s"],
  ["token_gap_p50_s", "time between tokens", " s"],
  ["token_gap_max_s", "longest of these", " s"],
  ["prompt_tokens", "prompt tokens", ""],
  ["computed_tokens", "computed of these", ""],
  ["cached_tokens", "from the cache", ""],
  ["prompt_tokens_per_s", "prompt tokens/s", ""],
  ["completion_tokens", "completion tokens", ""],
  ["reasoning_tokens", "reasoning tokens", ""],
  ["completion_tokens_per_s", "completion tokens/s", ""],
  ["draft_tokens", "tokens drafted", ""],
  ["draft_accepted_tokens", "taken of these", ""],
  ["concurrency_in_force", "requests at a time", ""],
  ["score", "score", ""],
]);

/** @param {Record<string, any>} trial @returns {[string, Child][]} */
export function trialFacts(trial) {
  return [
    ["outcome", el("span", { class: trial.outcome }, trial.kind ? `${trial.outcome}: ${trial.kind}` : trial.outcome)],
    ["reason", trial.reason],
    ["seed", trial.seed],
    ["sent", trial.started_at ? moment(trial.started_at) : null],
    ...FIGURES.map(([name, title, unit]) => /** @type {[string, Child]} */ (
      [title, trial[name] === null || trial[name] === undefined ? null : rounded(trial[name]) + unit]
    )),
    ["requests", trial.turns > 1 ? `${trial.turns} (times and tokens are of all)` : null],
    ["asked again", trial.asked_again],
    ["finish reason", trial.finish_reason],
    ["answered as", trial.reply_model],
    ["fingerprint", trial.fingerprint],
  ];
}

/** @param {Sent} sent @returns {Child[]} */
export function promptParts({ body }) {
  if (!body) return [el("p", {}, "What was sent was not recorded.")];
  const { messages = [], tools = [], ...fields } = body;
  return [
    messages.map(messagePart),
    tools.length
      ? el("details", {}, el("summary", {}, counted(tools.length, "tool")), textBlock(json(tools), "tools"))
      : null,
    factList(Object.entries(fields).map(([name, value]) => [name, JSON.stringify(value)])),
  ];
}

/** @param {Record<string, any>} message */
function messagePart({ role, name, content, tool_call_id: _, ...rest }) {
  const title = role === "tool" && name ? `result of ${name}` : String(role ?? "message");
  return el(
    "div",
    { class: `message ${role === "assistant" ? "model" : ""}` },
    el("h4", {}, title),
    content === null || content === undefined ? null : textBlock(typeof content === "string" ? content : json(content), title),
    Object.keys(rest).length ? textBlock(json(rest), `${title}, more`) : null,
  );
}

/** @param {Texts} texts @returns {Child[]} */
export function replyParts(texts) {
  const last = texts.earlier.length ? `reply ${texts.earlier.length + 1}` : "reply";
  const refused = texts.content === null && texts.message === null && !texts.tool_calls.length;
  return [
    texts.earlier.map((turn, at) => [
      turn.rendered_prompt ? [el("h4", {}, "rendered prompt"), textBlock(turn.rendered_prompt, "rendered prompt")] : null,
      turn.raw_output ? [el("h4", {}, "raw output"), textBlock(turn.raw_output, "raw output")] : null,
      onePart(turn, `reply ${at + 1}`, turnFacts(turn)),
      turn.then.map(messagePart),
    ]),
    refused ? el("p", {}, "No reply came.") : onePart(texts, texts.turn_limit ? `${last} (stopped at max_turns)` : last, []),
    texts.message
      ? el("details", {}, el("summary", {}, "raw output: the message as the server sent it"), textBlock(json(texts.message), "message as sent"))
      : null,
    texts.attempts.map((attempt) => el(
      "div",
      { class: "message" },
      el("h4", {}, `answer to request ${attempt.turn + 1}: ${attempt.kind ?? "reply"}`),
      attempt.reason ? el("p", {}, attempt.reason) : null,
      attempt.body ? textBlock(attempt.body, "answer as it came") : null,
    )),
  ];
}

/** @param {Turn} turn @returns {[string, Child][]} */
function turnFacts(turn) {
  return [
    ["latency", turn.latency_s === null ? null : `${rounded(turn.latency_s)} s`],
    ["prompt tokens", turn.prompt_tokens],
    ["from the cache", turn.usage.cached_tokens],
    ["completion tokens", turn.completion_tokens],
  ];
}

/** @param {Reply} reply @param {string} title @param {[string, Child][]} facts */
function onePart(reply, title, facts) {
  return el(
    "div",
    { class: "message model" },
    el("h4", {}, title),
    factList(facts),
    reply.reasoning ? el("details", {}, el("summary", {}, `reasoning, ${counted(reply.reasoning.length, "character")}`), textBlock(reply.reasoning, "reasoning")) : null,
    reply.content ? textBlock(reply.content, title) : el("p", { class: "quiet" }, "no text"),
    reply.tool_calls.map((call) => el(
      "div",
      { class: "call" },
      el("h5", {}, `calls ${call.name}`),
      argumentList(call.arguments),
    )),
  );
}

/** @param {string} text @returns {Child} the arguments one by one, or the text where it is no object */
function argumentList(text) {
  try {
    const given = JSON.parse(text);
    if (typeof given === "object" && given && !Array.isArray(given)) {
      return factList(Object.entries(given).map(([name, value]) => [name, typeof value === "string" ? value : json(value)]));
    }
  } catch {
    // Not JSON: the model wrote what it wrote.
  }
  return textBlock(text, "arguments");
}

/** @param {Texts} texts */
export function verdictTable({ verdicts, notes }) {
  if (!verdicts.length && !notes.length) return el("p", { class: "quiet" }, "No check was asked.");
  return el(
    "table",
    {},
    el("caption", {}, "What each check said"),
    el("thead", {}, el("tr", {}, ["verdict", "check", "found"].map((name) => el("th", { scope: "col" }, name)))),
    el(
      "tbody",
      {},
      verdicts.map((verdict) => el(
        "tr",
        {},
        el("td", { class: verdict.passed ? "passed" : "failed" }, verdict.passed ? "✓ passed" : "✗ failed"),
        el("td", {}, verdict.check || "own check"),
        el("td", {}, [verdict.score === null ? null : `score ${rounded(verdict.score)}`, verdict.kind, verdict.reason].filter(Boolean).join(": ")),
      )),
      notes.map((note) => el("tr", {}, el("td", { class: "errored" }, "! noted"), el("td", {}, note.kind), el("td", {}, note.text))),
    ),
  );
}

/** @param {Lines | undefined} lines @param {Record<string, any>} trial @returns {Child[]} */
export function reproduceParts(lines, trial) {
  if (!lines) return [el("p", { class: "quiet" }, "No lines are known that would repeat it.")];
  return [
    trial.turns > 1 ? el("p", {}, "The second line sends the first request of the conversation.") : null,
    lines.note ? el("p", {}, lines.note) : null,
    textBlock(lines.server || "# no server was started here", "line that starts the server"),
    textBlock(
      lines.request ? lines.request.join(String(trial.seed)) : "# no request line: none is known that curl could send",
      "line that sends the request",
    ),
  ];
}

/** @param {Texts} texts @returns {string} all that the model said, to be compared */
export function replyText(texts) {
  return [...texts.earlier, texts]
    .map((one, at, all) => [
      all.length > 1 ? `— reply ${at + 1} —` : null,
      one.reasoning ? `reasoning: ${one.reasoning}` : null,
      one.content,
      ...one.tool_calls.map((call) => `calls ${call.name}(${call.arguments})`),
    ].filter(Boolean).join("\n"))
    .join("\n");
}

/** @param {Sent} sent @returns {string} */
export function promptText({ body }) {
  if (!body) return "";
  const { messages = [], ...rest } = body;
  const said = messages.map((/** @type {Record<string, any>} */ { role, content, ...more }) =>
    `${role}: ${typeof content === "string" ? content : json(content)}${Object.keys(more).length ? `\n${json(more)}` : ""}`);
  return [...said, json(rest)].join("\n");
}

/** @param {unknown} value */
function json(value) {
  return JSON.stringify(value, null, 2);
}

/** @param {string} outcome @param {number} trials */
export function outcomeCount(outcome, trials) {
  return el("span", { class: outcome }, `${count(trials)} ${outcome}`);
}
