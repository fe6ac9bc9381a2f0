"""Does a server heed seeds? The canary that asks it, and the replies of its trials that tell."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, TypeAlias

from matrixbench.records import ChatRequest, Refusal

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from matrixbench.backends.registry import Session
    from matrixbench.records import ChatReply, JsonObject
    from matrixbench.store.database import Store
    from matrixbench.store.rows import SeedReplies

CANARY = "canary"
"""The name of the note that a launch run gets of it."""

QUESTION = "Write a list of random words."
SEED, OTHER_SEED = 7_001, 7_002
SHORT, LONG = 8, 64
"""How many tokens the canary asks for, and where two seeds agree on those: models that think often
begin alike."""

CANARY_TIMEOUT_S = 30.0
"""For each of its requests; one that takes longer is given up, and the trials begin."""

LaunchKey: TypeAlias = "tuple[str, str | None]"
"""A launch's digest and a build's id."""

OPEN_TOKENS = 32
"""From so many completion tokens on a reply could have been said otherwise."""

OPEN_TEMPERATURE = 0.7
"""From this temperature on sampling would say it otherwise."""

TOKENS_ALIKE = 256
"""So many tokens, in open-ended replies, must have come again under other seeds: a sampler that
takes the likeliest token with a chance of .985 on average repeats so many in 2 % of cases."""

_NEW_REPLIES = 0.5
"""Where more than this share of a launch's later open-ended replies are new ones, seeds (or
whatever it draws by) do reach its sampling, whatever the canary heard."""

_WIDE_TOP_P, _WIDE_TOP_K, _WIDE_MIN_P = 0.9, 20, 0.1
"""Beyond these sampling is so narrow that replies may be alike for that reason."""

_FORMS = ("tools", "response_format", "json_schema", "grammar", "format")
"""Fields that give a reply its form; models are sure of forms."""

BY_CANARY = "the canary's two seeds gave one reply, and one seed repeats"
BY_REPLIES = "none of its open-ended requests ever got two different replies"


async def canary(session: Session, timeout_s: float) -> JsonObject:
    """Return whether two seeds differ and one repeats; `refused` says why neither is known.

    `seeds_differ` and `repeatable` are None where the replies show no text at all. Costs three
    requests of few tokens; two longer ones where the short replies agree.
    """
    texts: list[str] = []
    for seed in (SEED, OTHER_SEED, SEED):
        answer = await _answer(session, seed, SHORT, timeout_s)
        if isinstance(answer, Refusal):
            return {"refused": answer.reason}
        texts.append(_said(answer))
    first, other, again = texts
    if not any(texts):
        return {"seeds_differ": None, "repeatable": None}
    differ = first != other
    if not differ:
        longer = [await _answer(session, seed, LONG, timeout_s) for seed in (SEED, OTHER_SEED)]
        for answer in longer:
            if isinstance(answer, Refusal):
                return {"refused": answer.reason}
        differ = len({_said(answer) for answer in longer}) > 1
    return {"seeds_differ": differ, "repeatable": first == again}


async def _answer(
    session: Session, seed: int, tokens: int, timeout_s: float
) -> ChatReply | Refusal:
    messages = [{"role": "user", "content": QUESTION}]
    return await session.ask(
        ChatRequest(
            body={"messages": messages, "temperature": 1, "max_tokens": tokens},
            seed=seed,
            trial=0,
            test=CANARY,
            timeout_s=min(timeout_s, CANARY_TIMEOUT_S),
        )
    )


def _said(answer: ChatReply | Refusal) -> str:
    return "" if isinstance(answer, Refusal) else (answer.reasoning or "") + (answer.content or "")


def ignoring(store: Store, launches: Mapping[LaunchKey, bool]) -> dict[LaunchKey, str]:
    """Return the launches that are shown to ignore seeds, each with what shows it.

    Of several canaries of a launch and build the newest that found it out counts.

    Args:
        launches: The launches to look at → whether trials of theirs are known already in which two
            seeds gave two replies. It spares reading all of the store's trials.

    Raises:
        StoreError: The store cannot be read.
    """
    heard = _canaries(store, launches)
    doubtful = [
        launch
        for launch, two_replies in launches.items()
        if heard.get(launch) is False or (launch not in heard and not two_replies)
    ]
    if not doubtful:
        return {}
    said: dict[LaunchKey, list[SeedReplies]] = defaultdict(list)
    for found in store.replies_to_seeds(digest for digest, _ in doubtful):
        said[found.launch_digest, found.build].append(found)
    reasons = {launch: shown_by(heard.get(launch), said[launch]) for launch in doubtful}
    return {launch: reason for launch, reason in reasons.items() if reason}


def _canaries(store: Store, launches: Iterable[LaunchKey]) -> dict[LaunchKey, bool]:
    """Return launch → whether seeds reach its sampling; none where no canary found it out."""
    wanted = set(launches)
    found: dict[LaunchKey, bool] = {}
    for note in store.noted(CANARY):
        launch = (note.launch_digest, note.build)
        if launch in wanted and note.value.get("repeatable") is True:
            differ = note.value.get("seeds_differ")
            if isinstance(differ, bool):
                found[launch] = differ
    return found


def shown_by(heard: bool | None, said: Sequence[SeedReplies]) -> str:
    """Return what shows that a launch ignores seeds; empty where nothing does.

    Args:
        heard: Whether its canary found that seeds reach the sampling; None where none found out.
        said: What its trials said to each request.
    """
    opened = [found for found in said if is_open_ended(found)]
    if heard is False:
        later = sum(found.seeds - 1 for found in opened)
        new = sum(found.distinct - 1 for found in opened)
        return "" if new > _NEW_REPLIES * later else BY_CANARY
    alike = sum((found.seeds - 1) * (found.tokens or 0) for found in opened)
    if alike < TOKENS_ALIKE or any(found.distinct > 1 for found in said):
        return ""
    return BY_REPLIES


def is_open_ended(found: SeedReplies) -> bool:
    """Return whether a request's replies could have been said otherwise, and sampling would have.

    They are long enough and hot enough, the sampling is not narrow, and nothing prescribes a form.
    """
    return (
        found.tokens is not None
        and found.tokens >= OPEN_TOKENS
        and _number(found.body, "temperature", 0.0) >= OPEN_TEMPERATURE
        and _number(found.body, "top_p", 1.0) >= _WIDE_TOP_P
        and (_number(found.body, "top_k", 0.0) <= 0 or found.body["top_k"] >= _WIDE_TOP_K)
        and _number(found.body, "min_p", 0.0) <= _WIDE_MIN_P
        and not any(found.body.get(form) for form in _FORMS)
    )


def _number(body: JsonObject, name: str, default: float) -> float:
    value = body.get(name)
    return float(value) if isinstance(value, (int, float)) else default
