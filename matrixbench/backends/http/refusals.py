"""What refusals mean, in one table for every server and every dialect. Pure.

The first row that matches decides. Rows with words come before rows of bare statuses: a 400 can be
the parser's, and a 500 the template's. Among the words, those that quote what the model wrote come
first, since a reply may speak of anything.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from matrixbench.backends.http.faults import without_quotes
from matrixbench.records import Kind, Outcome

if TYPE_CHECKING:
    from matrixbench.backends.http.faults import Fault

ABOUT_THE_KEY = frozenset({401, 402, 403, 407})
"""Statuses whose words are about the key or the account, and seldom about the request."""

REJECTED, ERRORED = Outcome.REJECTED, Outcome.ERRORED


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """What refusals of one sort mean.

    Args:
        says: What a server's text holds; None where the status alone decides.
        statuses: Of which statuses; None is every one but those that are about the key.
        proxied: Only where a proxy may stand between us and the server, and the body may be its.
        outcome: What becomes of the trial.
        kind: Why.
        by_request: The request alone decides it: one trial stands for the cell.
        stops_launch: No request can succeed.
        alone: It was load: sent once more with nothing beside it.
        unexplained: Nobody knows what it means: it is asked again before it is believed.
        servers: Who says so.
        examples: Texts that this row is the first to match, as the servers send them.
        source: Where that can be looked up.
    """

    says: re.Pattern[str] | None = None
    statuses: range | frozenset[int] | None = None
    proxied: bool = False
    outcome: Outcome = REJECTED
    kind: Kind
    by_request: bool = False
    stops_launch: bool = False
    alone: bool = False
    unexplained: bool = False
    servers: str
    examples: tuple[str, ...]
    source: str

    @property
    def is_load(self) -> bool:
        """Whether a server that says so is asked again, and its next answer counts."""
        asked_again = {Kind.RATE_LIMITED, Kind.SERVER_ERROR, Kind.SERVER_CRASHED}
        return self.outcome is Outcome.ERRORED and self.kind in asked_again and not self.alone

    def covers(self, status: int) -> bool:
        """Return whether the row is about a status at all."""
        if self.statuses is None:
            return status not in ABOUT_THE_KEY
        return status in self.statuses


def _says(*patterns: str) -> re.Pattern[str]:
    return re.compile("|".join(patterns), re.IGNORECASE | re.DOTALL)


_EVERY = range(200, 600)
_A = r"(?:\w+[ -]){0,4}"
"""A few words between two that matter."""

_FAILED = r"(?:fail(?:ed|s|ure)?|unable|error|could(?: not|n't)|can(?: ?not|'t))"
_READING = r"(?:pars|extract|read|decod|interpret|deseriali[sz])\w*"
_CALL = r"(?:tool|function)s?[ _-]?calls?(?:ing)?"
_CONTEXT = (
    r"(?:context[ _-]?(?:lengths?|sizes?|windows?|limits?|capacity)|n_ctx|kv[ _-]cache|kv[ _-]size"
    r"|max_(?:model|seq)_len|token limit|cache size)"
)
_EXCEEDS = (
    r"(?:exceed|overflow|longer than|greater than|larger than|bigger than|more than|beyond"
    r"|too (?:long|large|big|small|short|many)|(?:not|n't) fit|not enough|insufficient)"
)
_FIELD = (
    r"[`'\"]?(?:temperature|top_?[kp]|min_p|typical_p|max_(?:new_|completion_|output_)?tokens|seed"
    r"|stop|n|logprobs|top_logprobs|logit_bias|\w*_?penalty|stream(?:_options)?|response_format"
    r"|messages|tools|think|reasoning(?:_\w+)?|option|user|parallel_tool_calls"
    r"|chat_template_kwargs)[`'\"]?"
)

TEXTS: tuple[Row, ...] = (
    # First: behind these words Ollama repeats the last error line of its runner's log, which may
    # be of an earlier request.
    Row(
        says=_says(r"^an error was encountered while running the model"),
        outcome=ERRORED,
        kind=Kind.SERVER_CRASHED,
        servers="Ollama",
        examples=(
            (
                "an error was encountered while running the model: error: request (3010 tokens) "
                "exceeds the available context size (2048 tokens)"
            ),
            "an error was encountered while running the model: unexpected EOF",
        ),
        source="ollama llm/llama_server.go",
    ),
    Row(
        says=_says(
            r"\bin the request, at \S+:|^request body\b",
            r"validation errors? for \w*(?:request|params|body)\w*\b",
        ),
        kind=Kind.BAD_REQUEST,
        by_request=True,
        servers="FastAPI: vLLM, SGLang, TabbyAPI, llama-cpp-python",
        examples=(
            "in the request, at body.top_k: Input should be a valid integer (int_type)",
            "in the request, at body.foo: Extra inputs are not permitted (extra_forbidden)",
            "1 validation error for ChatCompletionRequest\ntop_k\n  Input should be an integer",
        ),
        source="FastAPI's `detail`; the text is put together from `loc`, `msg` and `type`",
    ),
    Row(
        says=_says(
            r"^(?:error |failed to )pars(?:e|ing) (?:the )?(?:input|request)\b.*bad input",
            rf"{_FAILED} to parse (?:the )?(?:messages?|tools|request|(?:request )?body)\b",
            r"looks like (?:object|array|string), but can't find closing",
            r"\bexpected '(?:messages?|tools|content)'",
            r"\bmissing '?(?:role|tool (?:call )?(?:type|function|name)|content part type)\b",
        ),
        kind=Kind.BAD_REQUEST,
        by_request=True,
        servers="llama.cpp, KoboldCpp, Ollama",
        examples=(
            "Failed to parse messages: Missing 'role' in message: {}",
            "Failed to parse tools: Missing tool type: {}",
            "Error parsing input (bad input)",
            "Value looks like object, but can't find closing '}' symbol",
        ),
        source="llama.cpp common/chat.cpp; koboldcpp.py; ollama's reader of tool arguments",
    ),
    # What the model wrote, and the server could not read. These rows come before all others but
    # those on the request: whatever follows such words may be the model's.
    Row(
        says=_says(
            r"(?:does|did)(?: not|n't) (?:match|conform|adhere|comply|satisf)\w* "
            r".{0,80}(?:format|schema|grammar|syntax)",
            rf"failed to parse (?:the )?(?:model )?(?:input|output|generat\w+|reply|{_A}{_CALL})",
            r"\binvalid diff\b",
            r"\bgrammar stacks?\b",
            r"\btool call mismatch\b",
        ),
        kind=Kind.UNPARSED_OUTPUT,
        servers="llama.cpp, ik_llama.cpp, llamafile, LM Studio, and Ollama above them",
        examples=(
            "The model produced output that does not match the expected peg-native format",
            "Failed to parse input at pos 12: <tool_call>{",
            "Tool error: Failed to parse generated text: expected value at line 1 column 1",
            (
                "Failed to parse tool call arguments as JSON: "
                "[json.exception.parse_error.101] parse "
                "error at line 1, column 74: syntax error while parsing value - invalid string"
            ),
            "Invalid diff: now finding less tool calls!",
            "Invalid diff: 'The context' not found at start of 'length'",
            "Unexpected empty grammar stack after accepting piece: / (14)",
            "llama-server chat error: map[code:500 message:Failed to parse input at pos 12]",
        ),
        source="llama.cpp common/chat.cpp, src/llama-grammar.cpp",
    ),
    Row(
        says=_says(
            r"tool_use_failed|json_validate_failed|malformed_function_call|failed_generation",
            r"failed to (?:call a function|generate (?:valid )?json|validate json)",
            r"(?:model|it) (?:did(?: not|n't)|failed to|never) "
            r"(?:call|produce|generate|return|output|emit|write)",
            r"no (?:valid )?tool calls? (?:was |were )?(?:found|generated|produced|returned)",
            r"failed to advance (?:the )?fsm|(?:token|matcher) .{0,40}(?:not|n't) accept(?:ed)?\b",
            r"matcher has terminated|not accepted by the (?:grammar|matcher)",
            r"validation errors? for (?:list|dict|json|\w*(?:function|tool)(?:call|def|desc))",
            r"harmonyerror|unexpected tokens? (?:\d+ )?(?:while expecting|remaining)",
        ),
        kind=Kind.UNPARSED_OUTPUT,
        servers="vLLM, SGLang, TGI, and hosted ones such as Groq and Gemini",
        examples=(
            (
                "Failed to call a function. Please adjust your prompt. See 'failed_generation' for "
                "more details. (invalid_request_error) (tool_use_failed)"
            ),
            "Failed to generate JSON. Please adjust your prompt. (json_validate_failed)",
            "Tool choice is 'required' but the model did not call a tool",
            (
                "1 validation error for list[function-wrap[__log_extra_fields__()]]\n  "
                "Invalid JSON: "
                "expected value at line 1 column 1 [type=json_invalid, input_value='Okay, let', "
                "input_type=str]"
            ),
            "Failed to advance FSM for request chatcmpl-1 for tokens 27. Please file an issue.",
            "Unexpected token 12606 while expecting start token 200006",
            'unexpected tokens remaining in message header: Some("commentary")',
        ),
        source="vllm v1/structured_output, openai_harmony; Groq's and Google's documentation",
    ),
    Row(
        says=_says(
            rf"\b{_FAILED} (?:to |in |while )?{_A}{_READING} {_A}(?:{_CALL}|calls?\b"
            r"|model(?:'s)? output|generated|generation|completion)",
            rf"\b(?:invalid|malformed|incomplete|unparse?able|unexpected|broken) {_A}{_CALL}\b",
            rf"\b{_CALL}\b.{{0,40}}\b(?:(?:not|n't) (?:be )?(?:pars|extract|read|decod)\w*|gave up"
            r"|(?:is |was )?(?:invalid|malformed|missing|incomplete|rejected)\b)",
            r"\bgenerated (?:tool|function) call|\bin the response, at ",
            r"\bmodel(?:'s)? (?:output|response|reply)\b.{0,60}(?:invalid|malformed|not valid"
            r"|reject|empty|could not|couldn't|can ?not|can't|unexpected)",
            r"\bmodel (?:produced|returned|generated|emitted|wrote) (?:an? |no )?"
            r"(?:empty|invalid|malformed|incomplete|unparse?able|broken)",
            r"^(?:error: )?(?:unexpected (?:model )?output|model output)\b",
            r"\b(?:grammar|fsm|matcher|constraint|structured output)\b.{0,60}\breject",
            r"\breject\w* (?:by|from) (?:the )?(?:grammar|fsm|matcher|constraint)",
            r"while (?:reading|parsing|extracting|decoding) (?:the )?(?:tool|function)[ _]calls?",
            r"\bparser: (?:missing|expected|unexpected|invalid)",
        ),
        kind=Kind.UNPARSED_OUTPUT,
        servers="Ollama, vLLM, SGLang, LM Studio, LiteLLM and OpenRouter before them",
        examples=(
            'error parsing tool call: raw=\'{"cmd":"rate limit"\', err=unexpected end',
            'error parsing tool call: raw={"signal": "x"} err: signal: kill',
            (
                "error parsing tool call: raw='{\"city\": 1}]', err=invalid character ']' after "
                "top-level value"
            ),
            (
                'llama-server returned invalid tool call arguments for "f": unexpected end of JSON '
                "input"
            ),
            "incomplete GLM tool call: EOF",
            "The tool call could not be parsed",
            "Model output could not be decoded",
            "Could not extract function call from output text",
            "Could not read call: {name: restart, reason: out of memory}",
            "Hermes2Pro parser: missing </tool_call>",
            "tool call extraction gave up",
            "model output invalid: tool call missing name",
            "Model produced invalid function arguments",
            "Model returned an empty response",
            "Structured output backend: token rejected by FSM",
            "Grammar sampler rejected every token",
            "EOF while reading tool_calls block",
            "Unexpected output: <tool_call>{",
            "in the response, at response.tool_calls.0: field required (missing)",
        ),
        source="the parsers' own words, as bug reports of these servers give them",
    ),
    Row(
        says=_says(
            r"content[ _-]?(?:filter|policy|management|moderation)\b|\bmoderation\b",
            r"(?:input|prompt|output|response|request) (?:was|has been|is) (?:flagged|blocked)",
            r"prohibited_content|safety (?:system|filter)",
        ),
        statuses=_EVERY,
        kind=Kind.BAD_REQUEST,
        servers="hosted ones, OpenRouter",
        examples=(
            "Your chosen model requires moderation and your input was flagged for violence",
            (
                "The response was filtered due to the prompt triggering Azure OpenAI's content "
                "management policy. (content_filter)"
            ),
        ),
        source="OpenRouter's and Azure's documentation",
    ),
    # The server is busy: load, which passes.
    Row(
        says=_says(
            r"\brate[ _-]?limit|too many (?:concurrent |pending |parallel )?requests",
            r"insufficient_quota|exceeded your .{0,30}quota|quota (?:exceeded|exhausted)",
            r"resource_exhausted|(?:tokens|requests) per (?:minute|day|second|hour)",
        ),
        outcome=ERRORED,
        kind=Kind.RATE_LIMITED,
        servers="hosted ones, LiteLLM, OpenRouter",
        examples=(
            "Rate limit reached for requests. Limit: 3 / min. (rate_limit_exceeded)",
            "Provider returned error m/x is temporarily rate-limited upstream. Please retry",
            "Request too large for model `m` on tokens per minute (TPM): Limit 6000",
        ),
        source="OpenAI's, Groq's and OpenRouter's documentation",
    ),
    # Under unified KV the slots fight for one cache: alone it may go.
    Row(
        says=_says(
            r"\bcontext size has been exceeded",
            r"failed to find (?:a |free )*(?:memory |kv )?(?:slot|space)\b",
            r"no available space in (?:the )?kv cache|\bkv cache is full",
        ),
        outcome=ERRORED,
        kind=Kind.OVERLOADED,
        alone=True,
        servers="llama.cpp",
        examples=(
            "Context size has been exceeded.",
            "failed to find free space in the KV cache",
        ),
        source="llama.cpp tools/server/server-context.cpp",
    ),
    # A server or a model that failed: nothing was measured.
    Row(
        says=_says(
            r"\b(?:runner|process|worker|engine|engine ?core|backend|scheduler|child|model|instance"
            r"|llama-server):? "
            rf"{_A}(?:terminated|crash(?:ed|es)?|died|dead|exited|killed|no longer running|quit"
            r"|ejected|destroyed|disconnected|hit an exception"
            r"|(?:unexpectedly |suddenly )stopped)\b",
            r"\w+engine is dead\b|\bserver exited\b|engine_?dead_?error|enginecore encountered",
            r"engine loop|background loop",
            r"core dumped|segmentation fault|\bSIG(?:SEGV|KILL|ABRT|BUS|ILL)\b|signal: \w+",
            r"\bexit (?:code|status):? -?\d+",
            r"http://127\.0\.0\.1:\d+\S* ?(?:\"?: )?.{0,40}"
            r"(?:EOF|connection re(?:fused|set)|forcibly closed)",
        ),
        outcome=ERRORED,
        kind=Kind.SERVER_CRASHED,
        servers="Ollama, vLLM, SGLang, LM Studio",
        examples=(
            "llama runner process has terminated: exit status 2",
            "model runner has unexpectedly stopped, this may be due to resource limitations",
            "llama-server process no longer running: 137 ",
            "The model has crashed without additional information. (Exit code: 18446744072635)",
            (
                "EngineCore encountered an issue. See stack trace (above) for the root cause. "
                "(EngineDeadError)"
            ),
            "Background loop has errored already.",
            "Engine loop has died",
            "AsyncLLMEngine is dead",
            "The model has unexpectedly quit",
            "Model was ejected while processing the request",
            "Operation canceled. Model instance was destroyed.",
            "Engine protocol predict request failed: Worker disconnected",
            "llama-server exited unexpectedly",
            "Scheduler hit an exception",
            'do encode request: Post "http://127.0.0.1:40001/tokenize": EOF',
        ),
        source="ollama llm/llama_server.go; vllm v1/engine/exceptions.py; LM Studio's bug tracker",
    ),
    Row(
        says=_says(
            r"\bout[ _-]of[ _-]?memory|outofmemory|\bOOM\b|insufficient (?:\w+ )?memory",
            r"not enough (?:\w+ )?memory|requires more (?:system )?memory|unable to allocate",
            r"failed to allocate|cudamalloc|\b(?:cuda|hip|rocm|metal|vulkan|sycl|nccl|cublas)\w* "
            r"(?:runtime )?(?:error|failure|failed)|CUBLAS_STATUS|illegal memory access",
            r"device-side assert|devicelost|ggml_assert|\bcompute error\b",
            r"failed to decode the batch",
        ),
        outcome=ERRORED,
        kind=Kind.SERVER_ERROR,
        servers="all that compute",
        examples=(
            "CUDA out of memory. Tried to allocate 2.00 GiB",
            "CUDA error: an illegal memory access was encountered",
            "model requires more system memory (12.1 GiB) than is available (7.8 GiB)",
            "Compute error.",
        ),
        source="PyTorch; llama.cpp tools/server/server-context.cpp; ollama llm/server.go",
    ),
    Row(
        says=_says(
            r"\bmodels? (?:\S+ )?(?:is|was|has been|got|were) (?:already |currently |just )?"
            r"(?:unloaded|not (?:yet )?loaded|no longer loaded)",
            r"\bmodel unloaded\b|\bno models? (?:is |are )?(?:currently )?loaded\b",
            rf"{_FAILED} (?:to )?load(?:ing)? (?:the )?(?:model|llm)\b|model failed to load",
            r"timed out waiting for (?:llama|the model|runner|server)|startup failed",
            r"unexpected server status",
        ),
        outcome=ERRORED,
        kind=Kind.SERVER_ERROR,
        servers="LM Studio, Ollama, llama-swap, TabbyAPI",
        examples=(
            "Model unloaded.",
            "Model is unloaded.",
            "No models loaded. Please load a model in the developer page.",
            "Failed to load model",
            "timed out waiting for llama runner to start - progress 0.00",
            "llama-server startup failed after projector CPU offload retry: no memory",
        ),
        source="LM Studio's bug tracker; ollama llm/llama_server.go",
    ),
    Row(
        says=_says(
            r"\bloading model\b|\bmodel (?:\S+ )?(?:is |still )*(?:being )?load(?:ing|ed now)\b",
            r"\b(?:server|service|model|engine|system)(?: is)? (?:currently |too |very )*"
            r"(?:busy|overloaded|unavailable|at capacity|starting|warming up)",
            r"\bslots?(?: is| are)? (?:un|not )available",
            r"\bno (?:free )?slots? (?:is |are )?available",
            r"temporarily unavailable|(?:try|retry) again (?:later|in (?:a |\d))",
            r"\b(?:queue|server) is full|maximum pending requests|unavailable_error"
            r"|overloaded_error|high demand",
            r"request (?:was |has been )?(?:cancell?ed|aborted)|context cancell?ed",
        ),
        outcome=ERRORED,
        kind=Kind.SERVER_ERROR,
        servers="llama.cpp, Ollama, TGI, KoboldCpp, hosted ones",
        examples=(
            "Loading model (unavailable_error)",
            "slot unavailable",
            "server busy, please try again.  maximum pending requests exceeded",
            "Model is overloaded (overloaded)",
            "Server is busy; please try again later. (service_unavailable)",
            "The engine is currently overloaded, please try again later",
        ),
        source="llama.cpp tools/server; ollama server/sched.go; TGI router; koboldcpp.py",
    ),
    # The prompt, or what it may be answered with, is longer than the context.
    Row(
        says=_says(
            r"exceed_context_size|context_length_exceeded|context_?window_?exceeded",
            r"maximum (?:context|prompt|input|sequence|model|allowed) (?:length|size|window)",
            rf"{_EXCEEDS}.{{0,120}}\b{_CONTEXT}",
            rf"\b{_CONTEXT}.{{0,120}}{_EXCEEDS}",
            r"\b(?:prompt|inputs?|messages?|conversation)\b.{0,30}\btoo (?:long|large|big)\b",
            r"\binputs?\b[`'\"]? (?:token count|tokens?|length)\b.{0,60}(?:exceed|must)",
            r"\b[`'\"]?inputs[`'\"]? must have less than \d+ tokens",
            r"too many (?:\w+ )?tokens|tokens .{0,40}exceeds? the (?:maximum|limit|model)",
            r"max_(?:new_|completion_|output_)?tokens[`'\"]?.{0,60}"
            r"(?:exceed|too large|must be <=|got -\d)",
            r"\bcontext (?:the )?(?:overflow|exceeded|is (?:full|too small))|requires \d+ pages",
            r"\bn_keep\b.{0,40}n_ctx|\b(?:only )?(?:has )?room for \d+|tokens; (?:the )?window is",
            r"exceeds? (?:the |its )?(?:\w+ )?context\b",
            r"(?:not|n't) fit (?:in|into) (?:the )?context\b",
        ),
        kind=Kind.CONTEXT_OVERFLOW,
        by_request=True,
        servers="all",
        examples=(
            (
                "the request exceeds the available context size. try increasing the "
                "context size or "
                "enable context shift (exceed_context_size_error)"
            ),
            "request (3010 tokens) exceeds the available context size (2048 tokens)",
            "Input prompt is too big compared to KV size. Please try increasing KV size.",
            "input is too large to process. increase the physical batch size",
            "the prompt is longer than the context length currently available to the model",
            (
                "This model's maximum context length is 4096 tokens. However, you requested 5012 "
                "tokens (4500 in the messages, 512 in the completion)."
            ),
            "The decoder prompt (length 5000) is longer than the maximum model length of 4096.",
            "max_tokens must be at least 1, got -186.",
            "The input (9001 tokens) is longer than the model's context length (8192 tokens).",
            "Requested token count exceeds the model's maximum context length of 202752 tokens.",
            (
                "Input validation error: `inputs` tokens + `max_new_tokens` must be <= "
                "4096. Given: "
                "4000 `inputs` tokens and 512 `max_new_tokens` (validation)"
            ),
            "Input validation error: `inputs` must have less than 1024 tokens. Given: 1200",
            (
                "Trying to keep the first 14538 tokens when context the overflows. "
                "However, the model "
                "is loaded with context length of only 2048 tokens, which is not enough."
            ),
            (
                "The number of tokens to keep from the initial prompt is greater than the context "
                "length (n_keep: 13055>= n_ctx: 4096)."
            ),
            (
                "Input does not fit in context length. The input has 31430 tokens, but the context "
                "length only supports 30000 tokens."
            ),
            "Requested tokens (5000) exceed context window of 4096",
            "Prompt length 5000 is greater than max_seq_len 4096",
            "Job requires 100 pages (only 64 available) and cannot be enqueued.",
            "prompt is too long: 209303 tokens > 200000 maximum",
            "input length and `max_tokens` exceed context limit: 179413 + 32768 > 200000",
            "The input token count (2800010) exceeds the maximum number of tokens allowed",
            "Input tokens exceed the configured limit of 272000 tokens.",
            "litellm.ContextWindowExceededError: AnthropicError -",
        ),
        source="each server's own words; the reports are named in the tests",
    ),
    # The schema, the grammar or the format that the request asks for.
    Row(
        says=_says(
            r"\bjson[ _]schema (?:error|conversion)|\bresolv\w* (?:the )?\$ref\b",
            r"\b(?:invalid|unsupported|unsatisfiable|malformed|unrecognized|bad) "
            r"(?:\w+ ){0,3}(?:json[ _-]?schema|schema|grammar|regex|response[ _]format)",
            r"\bschema\b.{0,60}(?:not supported|unsupported|is invalid|not a valid|not valid)",
            r"(?:not|n't) (?:a )?valid (?:json[ _-]?)?schema|not supported by (?:xgrammar|outlines"
            r"|llguidance|lm-format-enforcer|the grammar)",
            rf"{_FAILED} (?:to |while |when |during )?"
            rf"(?:pars|compil|convert|build|initiali[sz]|creat)\w* {_A}(?:json[ "
            rf"_-]?schema|schema|grammar|regex|gbnf|ebnf|sampl\w+)\b",
            r"\b(?:grammar|schema|fsm) (?:\w+ ){0,2}(?:compilation|parsing|conversion|syntax)?[ ]?"
            r"(?:error|failed|is not supported)",
            r"grammar (?:is )?not supported|cannot (?:use|specify) .{0,40}(?:grammar|json_schema)",
            r"either .?json_schema.? or .?grammar",
            r"response_format\b.{0,80}(?:not supported|unsupported|invalid|must|unavailable|only)",
            r"\b(?:xgrammar|outlines|llguidance|lm-format-enforcer|guided_\w+)\b.{0,80}"
            r"(?:error|fail|invalid|unsupported|not support)",
        ),
        kind=Kind.BAD_REQUEST,
        by_request=True,
        servers="llama.cpp, Ollama, vLLM, SGLang, TGI, LM Studio, hosted ones",
        examples=(
            (
                "Unable to generate parser for this template. Automatic parser generation failed: "
                "JSON schema conversion failed: JSON schema error at #: unrecognized type banana"
            ),
            "Failed to parse grammar",
            "failed to initialize samplers: unknown grammar rule",
            'Either "json_schema" or "grammar" can be specified, but not both',
            "Cannot use custom grammar constraints with tools.",
            "The provided JSON schema contains features not supported by xgrammar.",
            "Failed to compile json schema: Expecting value",
            (
                "Invalid schema for response_format 'p': In context=(), 'required' is "
                "required to be "
                "supplied and to be an array including every key in properties."
            ),
            "Grammar compilation error: invalid character",
            "'response_format.type' must be 'json_schema' or 'text'",
        ),
        source="llama.cpp common/json-schema-to-grammar.cpp; vllm v1/structured_output; TGI router",
    ),
    # Tools that the model or the server has no place for.
    Row(
        says=_says(
            r"\bdoes(?: not|n't) support (?:\w+ ){0,2}(?:tools?\b|function[ -]?calling)",
            r"(?:tool use|tool calling|function calling|tools) (?:is|are) not supported",
            r"endpoints? found that support tool",
        ),
        kind=Kind.TEMPLATE_ERROR,
        by_request=True,
        servers="Ollama, OpenRouter, LiteLLM",
        examples=(
            "registry.example/library/base:1 does not support tools",
            "No endpoints found that support tool use. To learn more about provider routing",
            "Function calling is not supported for this model",
        ),
        source="ollama server/routes.go; OpenRouter's documentation",
    ),
    Row(
        says=_says(
            r"--enable-auto-tool-choice|--tool-call-parser|tools? param requires",
            r"\btool[ _]?choice\b.{0,120}\b(?:requires?|must|not supported|unsupported|invalid"
            r"|unknown|only|no tools?)\b",
            r"(?:invalid|unsupported|unknown|unrecognized) (?:value for )?[`'\"]?tool_choice",
            r"unsupported param: (?:tools|tool_choice)|requires? (?:the )?--jinja",
            r"\btools?\b.{0,40}\b(?:not (?:supported|allowed)|unsupported) "
            r"(?:with|without|by|for|when)",
        ),
        kind=Kind.BAD_REQUEST,
        by_request=True,
        servers="vLLM, llama.cpp, SGLang, TGI",
        examples=(
            '"auto" tool choice requires --enable-auto-tool-choice and --tool-call-parser',
            "tools param requires --jinja flag",
            "Invalid tool_choice: sometimes",
            "Unsupported param: tools",
            'Value error, `tool_choice` must either be a named tool, "auto", or "none".',
        ),
        source="vllm entrypoints/openai; llama.cpp tools/server/server-common.cpp",
    ),
    # The chat template, which cannot render these messages.
    Row(
        says=_says(
            r"\bjinja|\bminja\b|\btemplate(?:syntax|runtime|assertion)?error\b|templatenotfound",
            r"undefinederror|\bchat[ _-]?template\b|\bprompt template\b|\btemplate error",
            r"^template: |missing template va|raise_exception|generate parser for this template",
            r"\bat row \d+, column \d+|error (?:rendering|applying)|apply_chat_template",
            rf"{_FAILED} (?:to )?(?:render|apply)\w* {_A}(?:template|prompt|chat)",
            r"\broles? must alternate|conversation roles|\broles? (?:are|is) (?:not )?supported",
            r"(?:only|unknown|unexpected|invalid|unsupported) (?:\w+, ){0,4}(?:\w+ )?(?:and \w+ )?"
            r"roles?\b",
            r"\bsystem (?:role|message|prompt)s?\b.{0,60}(?:not supported|unsupported|must|only)",
            r"no user query found in messages|expected last role|optional system message",
            r"number of function calls and responses|tool call id (?:was|has|must)",
            r"only supports single tool-calls|' (?:object )?is undefined\b",
            r"'\w+ object' has no (?:attribute|element)",
            r"unknown renderer|(?:messages?|conversations?) (?:must|should) "
            r"(?:start|begin|end|alternate)|unknown (?:test|filter|block|tag)\b",
            r"system (?:turn|message)s? can be rendered",
        ),
        kind=Kind.TEMPLATE_ERROR,
        by_request=True,
        servers="all that have chat templates",
        examples=(
            "Jinja Exception: Conversation roles must alternate user/assistant/user/assistant/...",
            "Unable to generate parser for this template. Automatic parser generation failed",
            "Value is not callable: null at row 58, column 9:",
            "the chat template raised",
            'template: :1:29: executing "" at <.Nope.X>: can\'t evaluate field Nope in type',
            "Template error: invalid operation: System role not supported (in <string>:1)",
            "Only user and assistant roles are supported!",
            (
                'Error rendering prompt with jinja template: "Error: Parser Error: '
                "Expected closing "
                "statement token. OpenSquareBracket !== CloseStatement."
            ),
            "'dict object' has no attribute 'role' (UndefinedError)",
            "Cannot use chat template functions because tokenizer.chat_template is not set",
            "no user query found in messages",
            "Unexpected role 'system' after role 'user'",
            "Not the same number of function calls and responses",
            "After the optional system message, conversation roles must alternate",
            "System message must be at the beginning.",
        ),
        source="llama.cpp common/jinja, minja; transformers; TGI router; mistral_common",
    ),
    # The readers of calls and of JSON: their words say that what the model wrote is neither.
    Row(
        says=_says(
            rf"(?:invalid|malformed|incomplete|unparse?able|broken|bad|empty) {_A}{_CALL}\b",
            rf"pars(?:e|er|ing) (?:\w+ ){{0,4}}(?:{_CALL}|calls?|arguments?|json|xml|object|value"
            r"|output|generated text|response|completion)\b",
            rf"\b{_CALL}.{{0,60}}(?:not (?:be )?pars|invalid|malformed|unparse?able|not valid)",
            r"(?:could|can|did)(?: ?not|n't) (?:be )?(?:pars|decod|deseriali[sz]|interpret)\w*",
            r"malformed atem|(?:empty|missing) (?:\w+ )?(?:function|tool) (?:call )?name",
            r"undeclared \w+ function|\btool .{1,80} is not declared",
            r"required argument .{1,80} is missing",
            r"^tool (?:error|'.*' not found)|\brepair failed\b",
            r"\b(?:tool|function|reasoning)[ _-]?(?:call[ _-]?)?parser\b",
        ),
        kind=Kind.UNPARSED_OUTPUT,
        servers="Ollama, vLLM, SGLang, TGI, LM Studio, LiteLLM",
        examples=(
            "failed to parse JSON: unexpected end of JSON input",
            "Error in tool call parser: list index out of range",
            "Tool error: Tool with name get_wheather not found",
            "Unexpected token while parsing the arguments",
        ),
        source="ollama model/parsers; vllm entrypoints/openai/tool_parsers; TGI router",
    ),
    Row(
        says=_says(
            r"\bjson_?invalid\b|\binvalid json\b|jsondecodeerror|json\.exception\.parse_error",
            r"\bexpecting (?:value|property name|'.' delimiter)|unterminated string",
            r"invalid (?:control character|\\?\\\w* ?escape)|invalid escape|extra data: line",
            r"unexpected end of (?:json|input|data)|invalid character .{1,12} (?:after|looking|in)",
            r"cannot unmarshal",
            r"(?:expected|EOF while parsing|trailing characters|key must be).{0,40} at line \d+",
            r"unexpected token.{0,40}\b(?:json|pars\w+)|(?:is|was) not (?:a )?valid json",
            r"syntax error while parsing|parse error at line",
        ),
        kind=Kind.UNPARSED_OUTPUT,
        servers="whoever reads JSON: Python, Go, Rust, JavaScript, C++",
        examples=(
            "Invalid JSON: expected value at line 1 column 1 [type=json_invalid]",
            "Expecting value: line 1 column 1 (char 0)",
            "Unterminated string starting at: line 1 column 10 (char 9)",
            "Expecting ',' delimiter: line 1 column 5 (char 4)",
            "Invalid \\escape: line 1 column 3 (char 2)",
            "invalid character ']' after top-level value",
            "EOF while parsing a string at line 1 column 40",
            "Unexpected token < in JSON at position 0",
            "[json.exception.parse_error.101] parse error at line 1, column 74",
        ),
        source="the JSON readers of those languages",
    ),
    # The model is not there.
    Row(
        says=_says(
            r"\bmodel_not_found|\b(?:no such model|model not found)\b|try pulling it first",
            r"\bnot a valid model id\b",
            r"\b(?:the )?model:? (?:'[^']+'|\"[^\"]+\"|`[^`]+`|\S+) "
            r"(?:is |was |could )?(?:not (?:be )?found|does(?: not|n't) exist|unknown)",
            r"\b(?:unknown|invalid) model\b|no endpoints found for",
        ),
        outcome=ERRORED,
        kind=Kind.NOT_FOUND,
        stops_launch=True,
        servers="all",
        examples=(
            "model 'nope:latest' not found",
            "The model `nope` does not exist. (NotFoundError)",
            "nope/nope is not a valid model ID",
            "model not found",
        ),
        source="ollama server/routes.go; vllm entrypoints/openai; OpenRouter",
    ),
    # A field of the request that the server does not take.
    Row(
        says=_says(
            r"extra_forbidden|extra (?:inputs|fields) (?:are )?not permitted",
            r"\b(?:unknown|unsupported|unrecognized|unexpected|invalid) (?:request )?"
            r"(?:field|param(?:eter)?|argument|keyword argument|option|key)s?\b",
            rf"\b{_FIELD}(?: value)?(?:\(s\))? "
            r"(?:must|should|has to|cannot|can't|is (?:not|required|too|unsupported|invalid))",
            rf"\binvalid (?:value (?:for|of|at) |type for )?{_FIELD}(?=\W|$)",
            r"^option \".*\" must be|^invalid format|invalid_(?:value|type)|unsupported_value",
            r"does(?: not|n't) support \w+|\b(?:is|are) not (?:currently )?supported\b"
            r"|not_supported_error|unsupported content part|(?:missing|is) (?:a )?required "
            r"(?:field|parameter|property)",
        ),
        kind=Kind.BAD_REQUEST,
        by_request=True,
        servers="all",
        examples=(
            'option "temperature" must be of type float32',
            'invalid format: "\\"xml\\""; expected "json" or a valid JSON Schema object',
            '"base:1" does not support thinking',
            "temperature must be non-negative, got -1.0.",
            "Unrecognized request argument supplied: foo",
            'Unsupported content part type: "video"',
            (
                "image input is not supported - hint: if this is unexpected, you may "
                "need to provide "
                "the mmproj"
            ),
        ),
        source="ollama api/types.go; vllm sampling_params.py; llama.cpp; OpenAI",
    ),
)
"""What words mean, whatever the status."""

STATUSES: tuple[Row, ...] = (
    # Redirects are not followed: the key must not travel, and a POST would become a GET.
    Row(
        statuses=range(300, 400),
        outcome=ERRORED,
        kind=Kind.NOT_FOUND,
        stops_launch=True,
        servers="all",
        examples=("HTTP 307",),
        source="RFC 9110",
    ),
    Row(
        statuses=ABOUT_THE_KEY,
        outcome=ERRORED,
        kind=Kind.UNAUTHORIZED,
        stops_launch=True,
        servers="all",
        examples=("HTTP 401",),
        source="RFC 9110",
    ),
    Row(
        statuses=frozenset({404, 405, 410}),
        outcome=ERRORED,
        kind=Kind.NOT_FOUND,
        stops_launch=True,
        servers="all",
        examples=("HTTP 404",),
        source="RFC 9110",
    ),
    Row(
        statuses=frozenset({429}),
        outcome=ERRORED,
        kind=Kind.RATE_LIMITED,
        servers="all",
        examples=("HTTP 429",),
        source="RFC 6585",
    ),
    Row(
        statuses=frozenset({408, 502, 503, 504}),
        outcome=ERRORED,
        kind=Kind.SERVER_ERROR,
        servers="all, and proxies before them",
        examples=("HTTP 502", "HTTP 503", "HTTP 504", "HTTP 408"),
        source="RFC 9110",
    ),
    Row(
        statuses=range(520, 531),
        proxied=True,
        outcome=ERRORED,
        kind=Kind.SERVER_ERROR,
        servers="Cloudflare and others, before an `endpoint`",
        examples=("HTTP 520", "HTTP 524", "HTTP 529"),
        source="Cloudflare's documentation",
    ),
    Row(
        statuses=frozenset({411, 413, 414, 415, 431, 501, 505}),
        kind=Kind.BAD_REQUEST,
        by_request=True,
        servers="all",
        examples=("HTTP 413", "HTTP 501"),
        source="RFC 9110",
    ),
    Row(
        statuses=frozenset({424, *range(500, 600)}),
        kind=Kind.SERVER_ERROR,
        unexplained=True,
        servers="all",
        examples=("HTTP 500", "HTTP 507", "HTTP 424"),
        source="RFC 9110; TGI's 424",
    ),
    Row(
        statuses=range(400, 500),
        kind=Kind.BAD_REQUEST,
        unexplained=True,
        servers="all",
        examples=("HTTP 400", "HTTP 422"),
        source="RFC 9110",
    ),
)
"""What a status means where no words are known."""

PROXY = Row(
    proxied=True,
    statuses=range(500, 600),
    outcome=ERRORED,
    kind=Kind.SERVER_ERROR,
    servers="proxies before an `endpoint`",
    examples=("HTTP 500 with a web page",),
    source="nginx, Apache, Cloudflare",
)
"""A web page in the place of an error is a proxy's, where there may be one."""


def row_of(fault: Fault, *, proxied: bool = False) -> Row | None:
    """Return what a fault means; None for statuses that are none of an error.

    Args:
        proxied: Whether a proxy may stand before the server.
    """
    if fault.named and not fault.html and (row := _by_words(fault)) is not None:
        return row
    if fault.html and proxied and PROXY.covers(fault.status):
        return PROXY
    return next(
        (row for row in STATUSES if row.covers(fault.status) and (proxied or not row.proxied)), None
    )


def _by_words(fault: Fault) -> Row | None:
    """Return the first row whose words stand in a fault's text, outside of what it quotes.

    Some proxies quote the server's whole word. Where nothing else tells, it counts as far as it
    says that what the model wrote could not be read: that never hides a fault.
    """
    bare = without_quotes(fault.text)
    rows = [row for row in TEXTS if row.covers(fault.status) and row.says is not None]
    found = next((row for row in rows if row.says and row.says.search(bare)), None)
    if found is not None or bare == fault.text:
        return found
    readers = [row for row in rows if row.kind is Kind.UNPARSED_OUTPUT]
    return next((row for row in readers if row.says and row.says.search(fault.text)), None)
