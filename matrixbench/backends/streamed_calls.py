"""Tool calls put together from their pieces, as the many kinds of servers send them. Pure.

Which piece belongs to which call is told by its id, its index and its name, and servers are free
with all three. docs/decisions has the rules and the reports that they come from. In short: a new id
begins a new call, and so does a name once the call before it has whole arguments; an id or an index
that is known goes on with its call; a piece without a name never begins one where it could go on.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from matrixbench.backends.event_stream import MalformedError

if TYPE_CHECKING:
    from matrixbench.records import JsonObject

_NO_JSON = object()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Piece:
    """A piece of a call: what it says of which call it belongs to, and what it adds.

    `value` is arguments that came as something else than text; then `text` is empty.
    """

    id: str | None
    index: int | None
    name: str
    text: str = ""
    value: Any = None

    @property
    def has_arguments(self) -> bool:
        return bool(self.text) or self.value is not None

    @property
    def arguments(self) -> Any:  # noqa: ANN401  any JSON value
        """What its arguments hold, taken for whole; also where they were encoded twice."""
        found = _read(self.text) if self.value is None else self.value
        return _read(found) if isinstance(found, str) else found


@dataclass(slots=True, kw_only=True, eq=False)
class _Call:
    id: str | None = None
    index: int | None = None
    name: str = ""
    texts: list[str] = field(default_factory=list)
    is_value: bool = False

    @property
    def text(self) -> str:
        if len(self.texts) > 1:
            self.texts = ["".join(self.texts)]
        return self.texts[0] if self.texts else ""

    @property
    def whole(self) -> Any:  # noqa: ANN401  any JSON value
        """The arguments so far where they are a whole object, else `_NO_JSON`.

        Nothing is read unless the last piece ends like an object, so that reading stays linear.
        """
        if not (self.texts and self.texts[-1].rstrip().endswith("}")):
            return _NO_JSON
        found = _read(self.text)
        return found if isinstance(found, dict) else _NO_JSON

    def repeats(self, piece: _Piece) -> bool:
        """Return whether a piece says all of the call's arguments once more."""
        if piece.value is None and not piece.text.lstrip().startswith(("{", '"')):
            return False
        whole = self.whole
        return whole is not _NO_JSON and bool(whole == piece.arguments)

    def grows_to(self, piece: _Piece) -> bool:
        """Return whether a piece of a call that is whole is no other call's whole arguments."""
        arguments = piece.arguments
        if not isinstance(arguments, dict):
            return True
        return self.is_value and bool(self.whole.items() <= arguments.items())


class StreamedCalls:
    """The calls of one reply, in the order in which they began."""

    def __init__(self) -> None:
        self._calls: list[_Call] = []
        self._by_id: dict[str, list[_Call]] = {}
        self._by_index: dict[int, _Call] = {}
        self._named_now: set[int] = set()

    def __bool__(self) -> bool:
        """Return whether any call has begun."""
        return bool(self._calls)

    def add(self, parts: object) -> bool:
        """Take in what one event holds of the calls; return whether it holds anything of one.

        Raises:
            MalformedError: It is no list of pieces, or cannot be put together with what came.
        """
        pieces = [_piece(part) for part in (parts if isinstance(parts, list) else [parts])]
        if self._is_summary(pieces):
            return False
        self._named_now.clear()
        for piece in pieces:
            if not (piece.id or piece.name or piece.has_arguments):
                continue
            call = self._target(piece)
            if call is None:
                call = _Call()
                self._calls.append(call)
            self._extend(call, piece)
        return bool(pieces)

    def whole(self) -> list[JsonObject]:
        """Return the calls as a reply that was not streamed has them.

        Raises:
            MalformedError: A call never got a name.
        """
        if any(not call.name for call in self._calls):
            raise MalformedError("a streamed tool call without a name")
        return [
            {
                **({} if call.id is None else {"id": call.id}),
                "type": "function",
                "function": {"name": call.name, "arguments": call.text},
            }
            for call in self._calls
        ]

    def _is_summary(self, pieces: list[_Piece]) -> bool:
        """Return whether an event says every call so far once more, whole."""
        return len(pieces) == len(self._calls) > 0 and all(
            piece.name in {"", call.name}
            and piece.id in {None, call.id}
            and piece.index in {None, call.index}
            and call.repeats(piece)
            for piece, call in zip(pieces, self._calls, strict=True)
        )

    def _target(self, piece: _Piece) -> _Call | None:
        """Return the call that a piece belongs to; None where it begins a new one."""
        if not self._calls:
            return None
        same = self._by_id.get(piece.id or "")
        found = self._near(piece) if same is None else _of_one_id(same, piece)
        return found if found is not None and self._goes_on(found, piece) else None

    def _near(self, piece: _Piece) -> _Call | None:
        """Return the call that a piece without an id, or with a new one, may go on with."""
        last = self._calls[-1]
        near = last if piece.index is None else self._by_index.get(piece.index)
        if piece.id is None:
            return last if near is None and not piece.name else near
        if near is None:
            return None
        if near.id is None:  # its id may come late
            return near if piece.name in {"", near.name} else None
        # Some servers make up an id for every piece: a call begins with its name.
        return near if piece.has_arguments and not piece.name else None

    def _goes_on(self, call: _Call, piece: _Piece) -> bool:
        """Return whether a piece may be of a call that its id or index points to."""
        if not piece.name or not call.name:
            return True
        same, whole = piece.id is not None and piece.id == call.id, call.whole is not _NO_JSON
        if id(call) in self._named_now and (whole or not same):
            return False  # two names in one event are two calls
        if not call.texts:
            return True  # the name once more, or its next piece
        if piece.name != call.name:
            return False
        if not whole or not piece.has_arguments:
            return True
        return call.repeats(piece) or (same and call.grows_to(piece))

    def _extend(self, call: _Call, piece: _Piece) -> None:
        if call.id is None and piece.id is not None:
            call.id = piece.id
            self._by_id.setdefault(piece.id, []).append(call)
        if call.index is None and piece.index is not None:
            call.index = piece.index
        if call.index is not None:
            self._by_index[call.index] = call
        if piece.name:
            call.name = _name(call.name, piece.name)
            self._named_now.add(id(call))
        if piece.has_arguments and not call.repeats(piece):
            _extend_arguments(call, piece)


def _of_one_id(same: list[_Call], piece: _Piece) -> _Call | None:
    """Return which of the calls under a piece's id it belongs to: two indices are two calls."""
    if piece.index is None:
        return same[-1]
    at_index = [call for call in same if call.index in {piece.index, None}]
    if at_index:
        return at_index[-1]
    return None if piece.name else same[-1]


def _piece(part: object) -> _Piece:
    function = part.get("function") if isinstance(part, dict) else None
    if not isinstance(part, dict) or not isinstance(function, dict | None):
        raise MalformedError("a piece of a tool call that is no object")
    told = function or {}
    name, arguments = told.get("name"), told.get("arguments")
    if not isinstance(name, str | None):
        raise MalformedError("a streamed tool call whose name is no text")
    return _Piece(
        id=_id(part.get("id")),
        index=index_of(part.get("index")),
        name=name or "",
        text=arguments if isinstance(arguments, str) else "",
        value=None if isinstance(arguments, str) else arguments,
    )


def _id(value: object) -> str | None:
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    return value if isinstance(value, str) and value else None


def index_of(value: object) -> int | None:
    """Return an index as servers write it, as a number or its text; None where it is none."""
    match value:
        case bool():
            return None
        case int():
            return value
        case float():
            return int(value) if value.is_integer() else None
        case str():
            return int(value) if value.isascii() and value.isdigit() and len(value) < 10 else None  # noqa: PLR2004  an index
        case _:
            return None


def _name(known: str, piece: str) -> str:
    """Return a name with a piece of it; the same again, or all so far, is no further piece."""
    return piece if piece.startswith(known) else known + piece


def _extend_arguments(call: _Call, piece: _Piece) -> None:
    if piece.value is None and not call.is_value:
        call.texts.append(piece.text)
        return
    if piece.value is None or (call.texts and not call.is_value and call.text.strip() != "{}"):
        raise MalformedError("arguments of a tool call as an object and as text, which differ")
    call.texts = [json.dumps(piece.value, separators=(",", ":"), ensure_ascii=False)]
    call.is_value = True


def _read(text: str) -> Any:  # noqa: ANN401  any JSON value
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return _NO_JSON
