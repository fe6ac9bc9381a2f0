"""What stands in the columns of the tables, with units."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

COLUMNS: Mapping[str, str] = {
    "cell": "The cell's id; missing where the cell is not applicable.",
    "build": "The id of the build whose trials are shown; missing where there is none yet.",
    "unverified": "Why that build may not be what the backend has now; missing where it is, and "
    "where there is no trial.",
    "launches": "Numbers of the launches that its trials ran in, with spaces between; `show "
    "--launch` prints what those were; missing where there is no trial.",
    "status": "measured, partial, empty (no trial counts yet) or not_applicable.",
    "reason": "Why the cell is not applicable; missing otherwise.",
    "hint": "The way out where the cell is not applicable; missing otherwise.",
    "greedy": "Whether the sampling is greedy, so that repeats say nothing new.",
    "by_request": "Whether the request alone decides: one trial stands for the cell.",
    "planned": "How many trials the cell should have; where `trials` is adaptive, at most.",
    "stopped": "Whether fewer than planned are enough: `trials` is adaptive, and the interval is "
    "as narrow as asked.",
    "adaptive": "Whether the number of trials depends on what came out: then the success ratio, "
    "pass@k and pass^k lean outward a little (the interval allows for it).",
    "trials": "How many trials count (n): passed, failed and rejected ones.",
    "draws": "How many draws they are worth: as many, but 1 where the launch is shown to ignore "
    "seeds. The interval, pass@k and pass^k rest on these.",
    "passed": "Trials in which every check passed.",
    "failed": "Trials in which the model answered and a check said no, or time ran out.",
    "rejected": "Trials that the server could not turn into a reply; they count.",
    "errored": "Trials in which nothing was measured; they do not count.",
    "success_ratio": "passed / trials, between 0 and 1; missing where no trial counts.",
    "low": "Lower end of the 95 % interval; 0 where no trial counts; missing where repeats "
    "say nothing new (greedy, by_request) and where the cell is not applicable.",
    "high": "Upper end of the same interval; 1 where no trial counts.",
    "interval": "Which interval it is: wilson, or jeffreys or exact where one asked for it; where "
    "`trials` is adaptive sequential, which holds however often one looks; missing where there is "
    "none.",
    "shared_luck": "Where other tests have the same seeds, so that their outcomes go together: the "
    "seed of trial 0, a colon, and for each trial 1 (passed), 0 (not) or - (does not count); "
    "missing where the test has seeds of its own.",
    "success_ratio_without_rejected": "passed / (passed + failed), between 0 and 1: rejected "
    "trials left out; missing where there is none of either.",
    "score": "Mean of the scores that checks gave, between 0 and 1; missing where none gives one.",
    "distinct": "How many different replies the trials that count gave.",
    "one_reply": "Whether several trials gave one and the same reply although their sampling is "
    "not greedy: the cell may have been measured once.",
    "seeds_ignored": "What shows that the launch ignores seeds, so that all trials of the cell are "
    "one draw; missing where nothing does, and where repeats say nothing new anyway.",
    "reasoning_in_content": "How many of the trials that count left reasoning in the content, also "
    "where it was taken apart.",
    "call_in_content": "How many of the trials that count wrote a call into the content.",
    "top_kind": "The most frequent kind of failure; of errors only where nothing else failed.",
    "top_count": "How many trials are of that kind.",
    "top_reason": "The most frequent reason of that kind.",
    "speed_trials": "How many trials times and rates are of: those that count and ran under the "
    "cell's own load; by_request ones, which no model answered, left out.",
    "concurrency_in_force": "How many requests at a time the server was sent in these; missing "
    "where that is not known.",
    "speed_reason": "Why there are no times and rates although trials count: they ran under "
    "another load; missing otherwise.",
    "latency_p50_s": "Median latency of these trials, in seconds.",
    "latency_p90_s": "90th percentile of the same latencies, in seconds, linearly interpolated.",
    "time_to_first_token_p50_s": "Median time to the first token, in seconds.",
    "time_to_first_token_p90_s": "90th percentile of the time to the first token, in seconds.",
    "token_gap_p50_s": "Median over trials of the median time between tokens of a streamed reply, "
    "in seconds; missing where none was streamed.",
    "token_gap_p90_s": "90th percentile over trials of the same medians, in seconds.",
    "token_gap_max_p50_s": "Median over trials of the longest time between tokens of a streamed "
    "reply, in seconds.",
    "token_gap_max_p90_s": "90th percentile over trials of the same longest times, in seconds.",
    "prompt_tokens_per_s": "Median rate of prompt processing, in tokens per second.",
    "prompt_tokens_per_s_p90": "90th percentile of the same rates: one trial in ten is faster.",
    "completion_tokens_per_s": "Median rate of completion tokens, in tokens per second.",
    "completion_tokens_per_s_p90": "90th percentile of the same rates: one trial in ten is faster.",
    "completion_tokens": "Median number of completion tokens.",
    "computed_tokens": "Median number of prompt tokens that the server computed, those from its "
    "cache left out; missing where it does not say.",
    "cached_share": "Which share of all prompt tokens came from the server's cache, between 0 and "
    "1: times and rates of the prompt rest on the others alone.",
    "draft_accepted_share": "Which share of all drafted tokens the model took, between 0 and 1; "
    "missing where nothing was drafted.",
}
"""What stands in each column of `cell_frame` that is not an axis, in the columns' order."""

TRIAL_COLUMNS: Mapping[str, str] = {
    "cell": "The cell's id.",
    "build": "The id of the build that ran.",
    "unverified": "Why that build may not be what the backend has now; missing where it is.",
    "trial": "The trial's index in its cell, from 0.",
    "seed": "The seed that was sent.",
    "outcome": "passed, failed, rejected or errored.",
    "kind": "The kind of the failure; missing for a trial that passed.",
    "reason": "The failure's reason, one line.",
    "by_request": "Whether the request alone decided the outcome.",
    "score": "Mean of the scores that its checks gave, between 0 and 1; missing where none does.",
    "noted": "What was noticed of the reply whatever its checks say: reasoning_in_content, "
    "call_in_content or both; missing where nothing was.",
    "turns": "Requests that were sent: 1, and in a conversation one for each reply.",
    "asked": "How often they were sent: more than `turns` where one was sent again; missing in "
    "trials that an older version stored.",
    "asked_again": "Why they were sent again: the kind of each answer before the one that counts "
    "(`reply` where it was one), with spaces between; missing otherwise.",
    "latency_s": "From the first byte sent to the last byte received, in seconds.",
    "time_to_first_token_s": "Time to the first token, in seconds.",
    "prompt_tokens": "Number of prompt tokens.",
    "completion_tokens": "Number of completion tokens.",
    "prompt_tokens_per_s": "Rate of prompt processing, in tokens per second.",
    "completion_tokens_per_s": "Rate of completion tokens, in tokens per second.",
    "token_gap_p50_s": "Median time between two tokens of a streamed reply, in seconds.",
    "token_gap_max_s": "Longest time between two tokens of a streamed reply, in seconds.",
    "cached_tokens": "Prompt tokens that came from the server's cache; of a conversation all "
    "requests' together, as the counts and times below.",
    "computed_tokens": "Prompt tokens that the server computed.",
    "cached_share": "cached_tokens / (cached_tokens + computed_tokens), between 0 and 1.",
    "prompt_s": "How long the server says that it took to compute them, in seconds.",
    "predicted_tokens": "Tokens that the server says it wrote, in predicted_s.",
    "predicted_s": "How long the server says that writing took, in seconds.",
    "draft_tokens": "Tokens that a draft (speculative decoding) proposed.",
    "draft_accepted_tokens": "Those of them that the model took.",
    "draft_accepted_share": "draft_accepted_tokens / draft_tokens, between 0 and 1.",
    "reasoning_tokens": "Completion tokens that were reasoning.",
    "accepted_prediction_tokens": "Tokens of a predicted output that were taken.",
    "rejected_prediction_tokens": "Tokens of a predicted output that were not.",
    "load": "What its launch was set to: c8s4 is 8 requests at a time to a server of 4 slots; "
    "missing where that is not known.",
    "concurrency_in_force": "How many requests at a time its server was sent; missing where that "
    "is not known.",
    "reply_model": "The model's name as the reply bore it.",
    "fingerprint": "The server's fingerprint as the reply bore it.",
    "reply_digest": "Digest of the reply: equal replies have equal digests.",
    "launch": "Number of the launch that it ran in; `show --launch` prints what that was.",
    "imported": "Whether another tool measured it.",
}
"""What stands in each column of `trial_frame` that is not an axis, in the columns' order."""

_PASS_COLUMN = re.compile(r"pass_(at|hat)_\d+")


def pass_columns(k: int) -> Mapping[str, str]:
    """Return what stands in the two columns of `pass_k.with_pass_k`."""
    return {
        f"pass_at_{k}": f"pass@{k}: the chance that at least one of {k} attempts passes; missing "
        "where n < k.",
        f"pass_hat_{k}": f"pass^{k}: the chance that all of {k} attempts pass; missing where "
        "n < k.",
    }


def is_pass_column(name: str) -> bool:
    """Return whether a column is one of `pass_columns`."""
    return _PASS_COLUMN.fullmatch(name) is not None
