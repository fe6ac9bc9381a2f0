"""What people write for our names: keys, checks, metrics, flags, settings of Ollama."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from matrixbench.spec.experiment import SAMPLING_FIELDS

if TYPE_CHECKING:
    from collections.abc import Mapping

Ours = TypeVar("Ours")


def _table(ours: Mapping[Ours, str]) -> dict[str, Ours]:
    """Return word → what is meant, from what is meant → the words for it."""
    return {word: meant for meant, words in ours.items() for word in words.split()}


def folded(name: str) -> str:
    """Return a name without case and separators: `Llama.cpp`, `llama_cpp` and `llamacpp` agree."""
    return re.sub(r"[\W_]+", "", name.casefold())


@dataclass(frozen=True, slots=True, kw_only=True)
class KindAlias:
    """A kind that is meant, and when.

    Args:
        kind: Our name.
        page: The part of the documentation that explains it.
        why: What the kind is for, after «write KIND».
    """

    kind: str
    page: str
    why: str


_LLAMA = KindAlias(
    kind="llama-server",
    page="docs/servers.md#llama-server",
    why="llama.cpp's own server, started here",
)
_ENDPOINT = KindAlias(
    kind="endpoint",
    page="docs/servers.md#endpoint",
    why="a server that runs already and speaks the OpenAI chat API, at a url",
)
_COMMAND = KindAlias(
    kind="command",
    page="docs/servers.md#command",
    why="a server that is started here by its command line; one that runs already is an endpoint",
)
_OLLAMA = KindAlias(
    kind="ollama", page="docs/servers-ollama.md", why="Ollama, started here or running already"
)
_SCRIPTED = KindAlias(
    kind="scripted", page="docs/servers.md#scripted", why="replies that stand in the file"
)

_KINDS: Mapping[str, KindAlias] = _table(
    {
        _LLAMA: (
            "llama llamacpp llamacppserver llamaserver llamaserverexe llamacppbinary cpp "
            "ggml gguf local embedded xllamacpp ikllama ikllamacpp ikllamaserver "
            "llamabinary binary"
        ),
        _ENDPOINT: (
            "openai openaicompatible openaicompat openaiapi openaichat openailike "
            "openaiserver oai api apiserver rest http https url remote hosted external "
            "attached running chat chatcompletions completions lmstudio jan litellm "
            "openrouter groq together togetherai fireworks deepinfra deepseek mistral "
            "mistralai azure azureopenai anthropic claude gemini google cohere perplexity "
            "xai nvidia nim cerebras huggingface hf hfinference bedrock vertex proxy "
            "gateway cloud saas oobabooga textgen textgenerationwebui gpt4all"
        ),
        _COMMAND: (
            "vllm sglang sgl tgi textgenerationinference mlx mlxlm mlxserver mlxlmserver "
            "koboldcpp kobold llamafile llamacpppython llamacpppythonserver exllama "
            "exllamav2 exllamav3 tabbyapi tabby aphrodite lmdeploy tensorrt tensorrtllm "
            "trtllm mlc mlcllm ramalama llamabox localai transformers transformersserve "
            "triton ktransformers mistralrs candle shell cmd commandline exec process "
            "subprocess script program docker podman python custom"
        ),
        _OLLAMA: "ollamaserver ollamaserve ollamaapi ollamacpp",
        _SCRIPTED: (
            "fake mock dummy stub canned static echo fixed fixture replay scripts test none"
        ),
    }
)

_BY_KEY = {
    "argv": _COMMAND,
    "command": _COMMAND,
    "cmd": _COMMAND,
    "replies": _SCRIPTED,
    "url": _ENDPOINT,
    "base_url": _ENDPOINT,
    "api_base": _ENDPOINT,
    "api_key_env": _ENDPOINT,
    "pull": _OLLAMA,
    "models_dir": _OLLAMA,
}
"""What else a backend says, and so what it is, whatever it calls itself."""

_FITTING = frozenset({_COMMAND.kind, _ENDPOINT.kind})


def kind_meant(name: str, keys: frozenset[str] = frozenset()) -> KindAlias | None:
    """Return the kind of backend that a name stands for, if it is a known one.

    Args:
        name: What stands after `kind:`; may be empty.
        keys: What else the backend says: vLLM at a `url:` runs already, so it is an endpoint.
    """
    meant = _KINDS.get(folded(name))
    if meant is not None and meant.kind not in _FITTING:
        return meant
    told = next((_BY_KEY[key] for key in _BY_KEY if key in keys), None)
    if meant is None:
        return None if name else told
    return told if told is not None and told.kind in _FITTING else meant


_TEST_KEYS: Mapping[str, str] = _table(
    {
        "messages": (
            "prompt prompts message question questions query input inputs user ask text "
            "conversation chat dialog dialogue instruction user_prompt user_message"
        ),
        "expect": (
            "check checks assert asserts assertion assertions expected expects "
            "expectation expectations expected_output answer answers output target verify "
            "validate validation grade grader graders scorer scorers evaluate reference "
            "ideal must should judge"
        ),
        "name": "id title label test case",
        "tools": "tool functions function available_tools",
        "parameters": "vars var variables params param parameter matrix values args arguments",
        "tags": "tag labels categories category groups keywords",
        "description": "desc comment notes about",
        "turns": "followups follow_ups followup next_messages then",
        "max_turns": "max_replies turn_limit max_steps",
        "needs": "requires require requirements",
        "request": "request_fields body api_params",
    }
)

_BACKEND_KEYS: Mapping[str, str] = _table(
    {
        "kind": "type provider engine backend",
        "binary": "path bin executable exe program server server_path bin_path binary_path",
        "url": (
            "base_url baseurl api_base api_url endpoint endpoint_url address uri link "
            "host server_url"
        ),
        "api_key_env": (
            "api_key apikey key token api_token key_env api_key_variable api_key_var auth"
        ),
        "argv": "cmd command commandline command_line args cmdline run exec launch",
        "context": (
            "ctx ctx_size ctx-size n_ctx n-ctx num_ctx context_size context_length "
            "ctx_len max_model_len max-model-len context_window max_context "
            "n_ctx_per_slot c"
        ),
        "slots": (
            "parallel np n_parallel num_parallel n_slots num_slots max_num_seqs max-num- "
            "seqs batch_slots"
        ),
        "concurrency": (
            "workers connections max_connections max_concurrency parallelism threads_http "
            "num_workers"
        ),
        "env": "environment environ envs env_vars variables",
        "options": (
            "flags flag opts option server_args extra_args arguments params parameters "
            "settings server_options"
        ),
        "replies": "reply responses response answers outputs script",
        "delay_s": "delay latency_s sleep_s",
        "requests_per_minute": "rpm rate_limit requests_per_min max_rpm",
        "honours": "honors honour honor supports supported accepts",
        "ready": "health health_check healthcheck ready_path readiness wait_for",
        "base_path": "prefix base api_path",
        "replica": "replicas copy copies",
        "chat_template": "template chat_templates template_file",
    }
)

_MODEL_KEYS: Mapping[str, str] = _table(
    {
        "gguf": (
            "file path filename file_name model_file model_path modelfile gguf_file "
            "gguf_path weights location local local_path model"
        ),
        "hf": (
            "repo hf_repo hf-repo repo_id repository hub huggingface hugging_face hfr "
            "hf_model hf_id"
        ),
        "package": "pypi pip wheel",
        "ollama": "tag ollama_tag ollama_model ollama_name",
        "id": (
            "name model_id model_name modelname served_name api_name alias endpoint_id "
            "openai_id model_identifier"
        ),
        "axes": "axis variants matrix",
        "options": "flags args opts option server_args",
        "chat_templates": "template templates chat_template",
        "backends": "backend servers runs_on on",
    }
)

_FILE_KEYS: Mapping[str, str] = _table(
    {
        "name": "title experiment id",
        "description": "desc comment notes about goal",
        "trials": (
            "repeats repeat repetitions runs n samples attempts iterations n_trials "
            "num_trials trial repeat_count"
        ),
        "seed": "random_seed seeds rng_seed",
        "backends": "servers server providers provider engines runners backend",
        "models": "model llms llm weights",
        "chat_templates": "template templates chat_template chattemplates",
        "sampling": (
            "samplers_grid sampler sampling_params sampling_parameters generation "
            "generation_config params parameters"
        ),
        "request": "requests request_params request_fields body extra_body",
        "max_tokens": (
            "max_new_tokens max_completion_tokens num_predict n_predict max_length "
            "max_output_tokens"
        ),
        "tests": (
            "test cases testcases test_cases tasks task evals eval scenarios suites suite "
            "questions prompts"
        ),
        "timeouts": "timeout time_limit",
        "exclude": "skip excludes excluded ignore",
        "include": "includes included extra",
        "charts": "chart heatmap heatmaps plots plot figures figure graphs",
        "faithful": "deterministic reproducible",
    }
)

_TEMPLATE_KEYS: Mapping[str, str] = _table(
    {
        "file": ("path template jinja jinja_file template_file filename chat_template_file text"),
        "name": "id builtin built_in known_as preset",
        "ollama_file": "ollama go_template modelfile ollama_template",
    }
)

_SUITE_KEYS: Mapping[str, str] = _table(
    {
        "only": "include tests names select pick",
        "skip": "exclude without ignore except",
        "tags": "tag labels",
    }
)

_CHART_KEYS: Mapping[str, str] = _table(
    {
        "column": "columns col cols facet_column facet_col",
        "row": "rows facet_row facet",
        "x": "x_axis xaxis horizontal",
        "y": "y_axis yaxis vertical",
        "metric": "color colour value measure z metrics",
        "title": "name heading caption label",
        "baseline": "base reference compare_to",
    }
)

_MATCHER_KEYS: Mapping[str, str] = _table(
    {
        "equals": "equal eq is exact exactly exact_match same value be equal_to",
        "contains": (
            "contain includes include has have substring icontains contains_all contains_text like"
        ),
        "matches": "regex regexp pattern match re matching full_match fullmatch matches_regex",
        "one_of": "any_of in oneof choices options enum contains_any either",
        "length": "len size max_length min_length characters",
        "ignore_case": "case_insensitive ignorecase icase case_sensitive",
        "ignoring": "ignore strip remove without",
        "type": "is_type kind json_type",
        "number": "num numeric float int integer",
    }
)

_BOUNDS_KEYS: Mapping[str, str] = _table(
    {
        "min": "minimum least at_least ge gte more_than lower low from",
        "max": "maximum most at_most le lte less_than upper high below to",
    }
)

_SAMPLING_KEYS: Mapping[str, str] = _table(
    {
        "temperature": "temp temps temperatures t",
        "top_p": "topp nucleus p",
        "top_k": "topk k",
        "min_p": "minp",
        "typical_p": "typical typ_p typ-p typicalp",
        "top_n_sigma": "top_nsigma top-nsigma nsigma",
        "repeat_penalty": "repetition_penalty rep_pen repeat-penalty",
        "dynatemp_exponent": "dynatemp_exp",
        "mirostat_tau": "mirostat_ent",
        "mirostat_eta": "mirostat_lr",
        "samplers": "sampler sampler_seq sampler_order",
    }
)

KEYS: Mapping[str, Mapping[str, str]] = {
    "ExperimentFile": _FILE_KEYS,
    "Suite": {name: key for name, key in _FILE_KEYS.items() if key in {"name", "tests"}},
    "Backend": _BACKEND_KEYS,
    "Model": _MODEL_KEYS,
    "ChatTemplate": _TEMPLATE_KEYS,
    "Test": _TEST_KEYS,
    "SuiteReference": _SUITE_KEYS,
    "Chart": _CHART_KEYS,
    "Matcher": _MATCHER_KEYS,
    "NumberMatcher": _BOUNDS_KEYS,
    "Bounds": _BOUNDS_KEYS,
    "AdaptiveTrials": _table({"min": "least at_least", "max": "most at_most", "until": "stop"}),
    "Timeouts": _table(
        {
            "request_s": "request reply per_request request_timeout",
            "start_s": "start startup ready server start_timeout",
        }
    ),
    "Limits": _table({"cells": "max_cells matrix"}),
    "Needs": _table({"context": "ctx n_ctx context_length"}),
    "Ready": _table({"path": "url endpoint", "timeout_s": "timeout"}),
    "ScriptedReply": _table(
        {"content": "text reply message", "tool_calls": "tools calls tool_call function_call"}
    ),
    "ToolCalls": _table(
        {"calls": "expected call list", "at_least": "min least", "at_most": "max most"}
    ),
    "ExpectedCall": _table({"name": "function tool", "arguments": "args params parameters input"}),
    "JsonContent": _table(
        {
            "schema": "json_schema jsonschema",
            "paths": "fields values keys path",
            "fenced": "fence code_block markdown",
        }
    ),
    "Return": _table(
        {
            "content": "result output value text response",
            "when": "arguments args if where match",
        }
    ),
    "PackageFile": _table(
        {"name": "package pypi", "file": "path filename", "sha256": "sha hash checksum digest"}
    ),
}
"""Name of the part of the file → what people write there → the key that is meant."""

SAMPLING_WORDS: Mapping[str, str] = _SAMPLING_KEYS
"""What people write for sampling fields, in `sampling:` and on the command line."""

CHECKS: Mapping[str, str] = _table(
    {
        "content": "text output reply answer response message says contents",
        "tool_calls": (
            "tool_call toolcalls toolcall function_call function_calls calls called tool tools"
        ),
        "no_tool_calls": "no_tools no_tool_call no_calls without_tools",
        "reasoning": "thinking reasoning_content thought thoughts",
        "json": "is_json json_schema schema valid_json jsonschema",
        "finish_reason": "stop_reason finish finished finishreason",
        "latency_s": "latency time duration seconds max_latency",
        "completion_tokens": "tokens token_count output_tokens max_tokens n_tokens",
        "all": "and every all_of",
        "any": "or any_of either",
        "not": "none_of negate unless",
        "python": "function py custom call script lambda code",
        "same_as": "same equal_to same_reply like_cell",
    }
)
"""What people write for the names of checks."""

METRICS: Mapping[str, str] = _table(
    {
        "success_ratio": "success accuracy acc passrate pass passed ratio successrate rate",
        "difference": "diff delta change",
        "time_to_first_token_p50_s": "ttft timetofirsttoken firsttoken prefill",
        "completion_tokens_per_s": (
            "tps toks tokenspersecond tokensperseconds speed throughput decode tg "
            "generation evalrate tokens_s"
        ),
        "prompt_tokens_per_s": "pp promptspeed promptps prefillspeed",
        "latency_p50_s": "time duration seconds latencys",
        "pass_at_k": "passk passatk",
        "pass_hat_k": "passhatk passpowk reliability",
        "completion_tokens": "length tokens ntokens replylength",
        "distinct": "diversity unique variety",
    }
)
"""What people write for metrics, folded."""


def key_meant(part: str, key: str) -> str | None:
    """Return the key of a part that a word stands for there, if it is a known one."""
    known = KEYS.get(part, {})
    return known.get(key) or known.get(key.replace("-", "_").casefold())


_SHORT: Mapping[str, str] = {
    "C": "cpu-mask",
    "Cb": "cpu-mask-batch",
    "Cbd": "cpu-mask-batch-draft",
    "Cd": "cpu-mask-draft",
    "Cr": "cpu-range",
    "Crb": "cpu-range-batch",
    "Crbd": "cpu-range-batch-draft",
    "Crd": "cpu-range-draft",
    "a": "alias",
    "ag": "agent",
    "amb": "attention-max-batch",
    "b": "batch-size",
    "bs": "backend-sampling",
    "c": "ctx-size",
    "cb": "cont-batching",
    "cd": "ctx-size-draft",
    "cl": "cache-list",
    "cmoe": "cpu-moe",
    "cmoed": "cpu-moe-draft",
    "cms": "checkpoint-min-step",
    "cram": "cache-ram",
    "ctk": "cache-type-k",
    "ctkd": "cache-type-k-draft",
    "ctv": "cache-type-v",
    "ctvd": "cache-type-v-draft",
    "ctxcp": "ctx-checkpoints",
    "dev": "device",
    "devd": "device-draft",
    "dio": "direct-io",
    "dkvc": "dump-kv-cache",
    "dr": "docker-repo",
    "dt": "defrag-thold",
    "e": "escape",
    "fa": "flash-attn",
    "fitc": "fit-ctx",
    "fitp": "fit-print",
    "fitt": "fit-target",
    "fmoe": "fused-moe",
    "gan": "grp-attn-n",
    "gaw": "grp-attn-w",
    "h": "help",
    "hf": "hf-repo",
    "hfd": "hf-repo-draft",
    "hff": "hf-file",
    "hffv": "hf-file-v",
    "hfr": "hf-repo",
    "hfrd": "hf-repo-draft",
    "hfrv": "hf-repo-v",
    "hft": "hf-token",
    "hfv": "hf-repo-v",
    "j": "json-schema",
    "jf": "json-schema-file",
    "kvo": "kv-offload",
    "kvu": "kv-unified",
    "l": "logit-bias",
    "lcd": "lookup-cache-dynamic",
    "lcs": "lookup-cache-static",
    "lm": "load-mode",
    "lv": "log-verbosity",
    "lzm": "lazy-mode",
    "m": "model",
    "md": "model-draft",
    "mg": "main-gpu",
    "mla": "mla-use",
    "mm": "mmproj",
    "mmdev": "mmproj-device",
    "mmu": "mmproj-url",
    "mu": "model-url",
    "mv": "model-vocoder",
    "n": "n-predict",
    "ncffn": "n-cpu-ffn",
    "ncmoe": "n-cpu-moe",
    "ncmoed": "n-cpu-moe-draft",
    "ndio": "no-direct-io",
    "ngl": "n-gpu-layers",
    "ngld": "n-gpu-layers-draft",
    "nkvo": "no-kv-offload",
    "no-ag": "no-agent",
    "no-kvu": "no-kv-unified",
    "nocb": "no-cont-batching",
    "np": "parallel",
    "nr": "no-repack",
    "ot": "override-tensor",
    "otd": "override-tensor-draft",
    "r": "reverse-prompt",
    "rea": "reasoning",
    "rtr": "run-time-repack",
    "s": "seed",
    "ser": "smart-expert-reduction",
    "sm": "split-mode",
    "sp": "special",
    "sps": "slot-prompt-similarity",
    "t": "threads",
    "tb": "threads-batch",
    "tbd": "threads-batch-draft",
    "td": "threads-draft",
    "to": "timeout",
    "ts": "tensor-split",
    "ub": "ubatch-size",
    "v": "log-verbose",
}

_ELSEWHERE: Mapping[str, str] = {
    "num_gpu": "n-gpu-layers",
    "gpu_layers": "n-gpu-layers",
    "num_gpu_layers": "n-gpu-layers",
    "num_thread": "threads",
    "num_threads": "threads",
    "n_threads": "threads",
    "n_threads_batch": "threads-batch",
    "num_batch": "batch-size",
    "n_batch": "batch-size",
    "n_ubatch": "ubatch-size",
    "ubatch": "ubatch-size",
    "batch": "batch-size",
    "flash_attention": "flash-attn",
    "type_k": "cache-type-k",
    "type_v": "cache-type-v",
    "kv_cache_type": "cache-type-k",
    "kv_cache_dtype": "cache-type-k",
    "offload_kqv": "kv-offload",
    "draft_model": "model-draft",
    "use_mmap": "mmap",
    "use_mlock": "mlock",
}
"""Names that Ollama, llama-cpp-python and others have for the same."""

_OWN_KEYS: Mapping[str, str] = {
    **dict.fromkeys(
        ("ctx-size", "n-ctx", "num-ctx", "context", "context-size", "context-length", "ctx"),
        "say it with the backend's `context:`, the tokens that one request may use",
    ),
    **dict.fromkeys(
        ("parallel", "n-parallel", "num-parallel", "slots-number", "n-slots"),
        "say it with the backend's `slots:`",
    ),
    **{
        name: f"{name.replace('-', '_')} is a key of the backend: write it beside options"
        for name in ("binary", "env", "concurrency", "replica", "kind")
    },
    **dict.fromkeys(
        ("max-tokens", "num-predict", "max-new-tokens"),
        "say it with `max_tokens:` at the top level",
    ),
}

USUAL: frozenset[str] = frozenset(_SHORT.values()) | {
    "cache-prompt",
    "cache-reuse",
    "context-shift",
    "draft-max",
    "draft-min",
    "jinja",
    "lora",
    "mlock",
    "mmap",
    "no-mmap",
    "no-warmup",
    "numa",
    "reasoning-budget",
    "reasoning-format",
    "rope-freq-base",
    "rope-scale",
    "rope-scaling",
    "swa-full",
}
"""Long flags that are recognised without a binary, where they stand in the wrong place."""

_VARIABLE = "LLAMA_ARG_"


def long_name(name: str, own: Mapping[str, str] | None = None) -> str | None:
    """Return the long name of the option that another name stands for, without dashes.

    Args:
        name: What was written, with or without dashes.
        own: Short → long, both without dashes, as the binary's own help has them.
    """
    bare = name.lstrip("-")
    if own is not None and bare in own:
        return own[bare]
    if bare in _SHORT:
        return _SHORT[bare]
    if bare.startswith(_VARIABLE):
        return bare.removeprefix(_VARIABLE).lower().replace("_", "-")
    return _ELSEWHERE.get(bare.casefold().replace("-", "_"))


def is_short(name: str) -> bool:
    """Return whether a name is one of llama-server's short flags and none of its long ones."""
    return name in _SHORT


def said_elsewhere(name: str) -> str:
    """Return where what a name means is said in the file, if not among options; else nothing."""
    bare = name.lstrip("-").casefold().replace("_", "-")
    if bare in _OWN_KEYS:
        return _OWN_KEYS[bare]
    field = bare.replace("-", "_")
    field = SAMPLING_WORDS.get(bare) or SAMPLING_WORDS.get(field, field)
    return f"say it under `sampling:`, as {field}" if field in SAMPLING_FIELDS else ""
