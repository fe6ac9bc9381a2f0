"""The one protocol behind which every kind of backend stands, and the values that pass it."""

from __future__ import annotations

import contextlib
import json
import re
import shlex
from abc import abstractmethod
from dataclasses import dataclass, field, replace
from enum import Enum, StrEnum, auto
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Protocol, TypeVar
from urllib.parse import urlsplit

from matrixbench.backends.http.address import shown_url
from matrixbench.backends.option_files import file_contents, marked_only, meant
from matrixbench.errors import MatrixbenchError, ServerError
from matrixbench.identity import digest
from matrixbench.plan.cells import Origin, PresentBuild
from matrixbench.spec.axes import REQUEST
from matrixbench.spec.backends import OPENAI_FIELDS, Backend, Obstacle, kinds
from matrixbench.spec.trust import TRUSTED, Use, UseKind, program, url, variable_set

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
    from contextlib import AbstractAsyncContextManager

    from matrixbench.backends.build import FileHashes
    from matrixbench.backends.http.openai_reply import Answer
    from matrixbench.backends.option_files import Meant, PathOptions
    from matrixbench.plan.cells import Launch
    from matrixbench.records import Build, ChatReply, ChatRequest, JsonObject, Refusal
    from matrixbench.spec.models import Model, Template
    from matrixbench.spec.trust import Trust
    from matrixbench.spec.yaml_source import Loc

Found = TypeVar("Found")


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSource:
    """Where a backend finds a model, already on this machine.

    Args:
        name: The model's name in the experiment.
        path: Its GGUF file (of split files the first); None where the server has it.
        id: The name by which an endpoint knows it.
        sha256: The digest of its content over all split files; None where there is no file.
    """

    name: str
    path: Path | None = None
    id: str | None = None
    sha256: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LaunchRequest:
    """All that a backend needs to make one server configuration answer.

    Args:
        name: A short name for log files and messages, safe as a file name.
        backend: The backend's part of the experiment, of the kind that opens it.
        binary: The executable that the binary axis chose, or None for the default search.
        options: Server options, flag without dashes → value.
        faithful: One request at a time, no prompt cache, no shared KV.
        start_timeout_s: How long the server may take until it is ready.
        folder: Where log files and temporary files of this launch go; exists.
        here: The folder of the experiment file.
        report: Is told what a server fetches for itself: what, bytes done, bytes in all.
    """

    name: str
    backend: Any
    binary: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    model: ModelSource
    template: Template
    faithful: bool = False
    start_timeout_s: float = 600.0
    folder: Path
    here: Path | None = None
    report: Callable[[str, int, int | None], None] | None = None

    @property
    def slots(self) -> int:
        """How many requests its server is told to work on at a time."""
        return 1 if self.faithful else self.backend.slots_given or 1

    @property
    def concurrency(self) -> int:
        """How many requests at a time it should be sent."""
        return 1 if self.faithful else self.backend.concurrency or self.slots

    @property
    def log(self) -> Path:
        """Where its server's log goes."""
        return self.folder / f"{self.name}.log"

    @property
    def template_file(self) -> Path | None:
        """Where its template's text goes; None where it has no text of its own."""
        if self.template.text is None:
            return None
        return self.folder / f"{self.name}.chat-template.jinja"

    def meant(self, kinds: PathOptions, environ: Mapping[str, str]) -> Meant:
        """Return its options, all of whose files are there.

        Raises:
            ServerError: A path stands for nothing, or there is nothing to read.
        """
        found = meant(self.options, kinds, base=self.here or Path.cwd(), environ=environ)
        for fault in found.missing():
            raise fault.error
        return found


class Remark(NamedTuple):
    """What a launch's results should be read with, and what to do about it."""

    message: str
    hint: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionInfo:
    """What is known of a running server, for the launch's record.

    Args:
        build: What really runs.
        concurrency: Requests at a time that it should be sent.
        command: Its command line; empty for a server that was not started here.
        effective: What it reports of itself (`/props` and the like), without secrets.
        log: Its log file, or None.
        asked_model: The name by which the file asks for a model of a server that may have
            others; None where no other could answer.
        strict_model: Whether another model's answer ends the launch.
        noticed: What its results should be read with.
    """

    build: Build
    concurrency: int
    command: tuple[str, ...] = ()
    effective: JsonObject = field(default_factory=dict)
    log: Path | None = None
    asked_model: str | None = None
    strict_model: bool = False
    noticed: tuple[Remark, ...] = ()


class Session(Protocol):
    """A server that answers, for as long as its context is open."""

    @property
    def info(self) -> SessionInfo:
        """What is known of the server."""

    async def ask(self, request: ChatRequest) -> ChatReply | Refusal:
        """Return the model's reply, or what came instead; raises nothing but cancellation."""

    async def ensure_alive(self) -> bool:
        """Start the server again if it died; return whether it had to be.

        Raises:
            ServerError: It died more often than it may, or does not come back; the message ends
                with its log's tail.
        """

    def forgive(self, deaths: int) -> None:
        """Forget deaths that a request turned out to be to blame for: they were not its own."""


class Severity(StrEnum):
    """How bad it is."""

    OK = "ok"
    WARNING = "warning"
    """Something is missing that may not be needed, or is about to run short."""
    PROBLEM = "problem"
    """A run would stop here, or lose a launch."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Examined:
    """One thing that `doctor` looked at: what it is, what is there, and what to do next, if any."""

    level: Severity
    what: str
    found: str
    todo: str = ""


def ok(what: str, found: str) -> Examined:
    """Return that something is as it should be."""
    return Examined(level=Severity.OK, what=what, found=found)


def warning(what: str, found: str, todo: str) -> Examined:
    """Return that something may be missed."""
    return Examined(level=Severity.WARNING, what=what, found=found, todo=todo)


def problem(what: str, found: str, todo: str) -> Examined:
    """Return that a run would stop at something."""
    return Examined(level=Severity.PROBLEM, what=what, found=found, todo=todo)


def not_asked(what: str, address: str, around: Surroundings, *, key: str = "") -> Examined:
    """Return that a server was not asked, since the file that names it is not trusted."""
    around.trust.leave(f"{address} was not asked")
    return warning(what, f"{address}{key}; not asked: it is not trusted", "--trust has it asked")


def found_at(what: str, find: Callable[[], object]) -> Examined:
    """Return where something is, or why it cannot be found."""
    try:
        return ok(what, f"{find()} is there")
    except ServerError as error:
        return problem(what, told(error), error.hint)


def told(error: MatrixbenchError) -> str:
    """Return an error in one line, with its place."""
    return f"{error.where}: {error.message}" if error.where else error.message


class Gravity(Enum):
    """What follows from a fault."""

    REFUSED = auto()
    """No server could do what the file says: `execute` does not begin."""
    GIVEN_UP = auto()
    """The launch would be given up, the others run: `validate` refuses the file."""
    DOUBTFUL = auto()
    """It may be meant so, or be there when it runs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """Something that can be known to be wrong before anything starts.

    Args:
        ways: Where it may stand in the file; the first that is there counts.
        name: The key under that way; empty for what stands at the way itself.
        text: The value's text that is wrong; empty where the key itself is.
        message: What is wrong.
        hint: The way out.
        gravity: What follows from it.
    """

    ways: tuple[Loc, ...]
    name: str = ""
    text: str = ""
    message: str
    hint: str
    gravity: Gravity


class ServerProgram(NamedTuple):
    """The program of a server that is started here.

    Args:
        find: Looks for it; raises ServerError where it is not there.
        way: Where the file names it.
        by_path: Whether the file names it by its path, so that it must be there.
    """

    find: Callable[[], Path]
    way: Loc
    by_path: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What a kind may know of the machine.

    Args:
        here: The folder of the experiment file.
        folder: Where files of a launch that is only looked at would go.
        located: Returns a launch's model where its files are on this machine, with its digest.
        trust: What of the experiment file may run, where it is only looked at.
    """

    environ: Mapping[str, str]
    hashes: FileHashes
    here: Path | None = None
    folder: Path = Path()
    located: Callable[[Launch], ModelSource | None] = lambda _: None
    trust: Trust = TRUSTED
    _seen: dict[Hashable, Any] = field(default_factory=dict, repr=False)

    def once(self, key: Hashable, look: Callable[[], Found]) -> Found:
        """Return what a look finds, which several launches share."""
        if key not in self._seen:
            self._seen[key] = look()
        found: Found = self._seen[key]
        return found

    def contents(self, launch: Launch) -> Mapping[str, str]:
        """Return the digests of the files that a launch's options name.

        Raises:
            ServerError: A path stands for nothing, or a file is missing or cannot be read.
        """
        if not names_files(launch.options):
            return {}
        found = server_of(launch.spec).meant(launch, self)
        for fault in found.missing():
            raise fault.error
        return file_contents(found.files, self.hashes)


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What is kept of a trial and its launch, to reproduce it.

    Args:
        body: The request's body; None where it was not kept.
        seed: The trial's seed.
        command: The server's command line; empty where it was not started here.
        effective: What the server reported of itself.
        launch: The launch as the experiment's file has it, if there is one.
        around: The machine; None where nothing is known of it.
    """

    body: JsonObject | None
    seed: int
    command: Sequence[str] = ()
    build: Build | None = None
    effective: JsonObject = field(default_factory=dict)
    launch: Launch | None = None
    around: Surroundings | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Reproduction:
    """Shell command lines with which somebody else sees what a trial saw.

    Args:
        server: Starts the server; empty where it was not started here.
        request: Sends the trial's request; empty where its body was not kept.
        note: What has to be done before; empty where nothing has.
    """

    server: str = ""
    request: str = ""
    note: str = ""


class ServerKind(Backend):
    """A kind of backend: its part of the file, and all that is to be known to run it.

    A launch's `spec` is an object of such a class. What `Backend` asks besides is answered without
    looking at the machine.
    """

    # What somebody has to trust.

    looking_runs: ClassVar[bool] = True
    """Whether `present`, `faults` or `examine` run the program that the file names. Such a kind
    asks `around.trust` first, and tells it what it leaves open."""

    def uses(self, models: Sequence[Model], around: Surroundings) -> Iterator[Use]:
        """Yield what the file has it run, set, ask and send.

        A kind that runs, loads or asks anything that its own fields name yields that as well.

        Args:
            models: The models that it may serve, whose options are over its own.
            around: The machine.
        """
        for _, binary in self.builds:
            if binary is not None:
                yield program(binary, at_look=self.looking_runs)
        yield from self.env_uses
        if self.url_given is not None:
            yield url(self.url_given)
        key = getattr(self, "api_key_env", None)
        grids = [self.option_grids, *(model.options for model in models)]
        named = _VARIABLE.findall(str(grids)) if any(grids) else []
        for name in dict.fromkeys([*([key] if key else []), *named]):
            yield Use(kind=UseKind.VARIABLE, name=name)

    @property
    def env_uses(self) -> list[Use]:
        """The variables that the file gives its server."""
        return [
            variable_set(name, value, secret=bool(_SECRET.search(name)))
            for name, value in self.env_given.items()
        ]

    # Before anything runs.

    def needs_file(self, model: Model) -> bool:
        """Return whether its server is given a model as a file, which must be here first."""
        return False

    def source(self, name: str, model: Model) -> ModelSource:
        """Return a model that its server has, or fetches, by itself."""
        return ModelSource(name=name, id=model.id)

    @property
    def origin_url(self) -> str | None:
        """Where a server is that runs already."""
        return self.url_given

    def placed(self, launch: Launch, origin: Origin, around: Surroundings) -> Origin:
        """Return an origin with the executable and the command line of what is started here.

        Raises:
            ServerError: It is not there.
            OSError: It cannot be read.
        """
        return origin

    @abstractmethod
    def present(self, launch: Launch, origin: Origin, around: Surroundings) -> PresentBuild:
        """Return the build that a launch would run now; starts nothing, fetches nothing.

        Where only the running server knows the rest, the build is what can be known.

        Raises:
            ServerError: Something of it is not on this machine.
            OSError: It cannot be read.
        """

    def path_options(self, launch: Launch, around: Surroundings) -> PathOptions:
        """Return which of a launch's options name files; others do where the file marks them."""
        return marked_only

    def meant(self, launch: Launch, around: Surroundings) -> Meant:
        """Return a launch's options as its server is given them, and the files that they name."""
        kinds, base = self.path_options(launch, around), around.here or Path.cwd()
        return meant(launch.options, kinds, base=base, environ=around.environ)

    def program(self, launch: Launch, around: Surroundings) -> ServerProgram | None:
        """Return the program of a launch's server; None where none is started here."""
        return None

    @property
    def takes_jinja(self) -> bool:
        """Whether its server is given chat templates as Jinja."""
        return False

    def faults(self, launch: Launch, around: Surroundings) -> Iterator[Fault]:
        """Yield what a launch asks of its server that no server could do."""
        yield from ()

    # While it runs.

    @abstractmethod
    def open(
        self, order: LaunchRequest, around: Surroundings
    ) -> AbstractAsyncContextManager[Session]:
        """Return a context in which the server answers, and after which nothing of it is left.

        Raises (on entering):
            ServerError: No binary, a server that dies at start, never gets ready, or does not do
                what was asked.
        """

    # Its API, where that is one of its own.

    @classmethod
    def answers_like(cls, data: Any) -> bool:
        """Return whether JSON is an answer in an API that is the kind's own."""
        return False

    @classmethod
    def understood(cls, answer: Answer) -> ChatReply | Refusal | None:
        """Return what such an answer means."""
        return None

    # To look at it.

    def examine(
        self, what: str, ids: Mapping[str, str], around: Surroundings
    ) -> Iterator[Examined]:
        """Yield what `doctor` says of a backend of the file.

        Args:
            what: How the backend is called.
            ids: Model → the id by which it is asked for.
        """
        yield ok(what, f"kind {self.kind}: known only when it runs")

    @classmethod
    def examine_machine(cls, around: Surroundings, *, named: bool) -> Iterator[Examined]:
        """Yield what `doctor` says of this machine for the kind; `named` if a file is of it."""
        yield from ()

    @classmethod
    def reproduce(cls, asked: Asked) -> Reproduction:
        """Return the lines that reproduce a trial. No secret is in them.

        The file with a server's random key is gone, so both lines do without it.
        """
        env = {} if asked.launch is None else asked.launch.spec.env_given
        server = server_line(env, without_key(asked.command))
        url = cls.chat_url(asked)
        if asked.body is None or not url:
            return Reproduction(server=server)
        streamed = STREAM_OPTIONS if asked.body.get("stream") else {}
        name = cls.model_name(asked)
        body = {
            "stream": False,
            **asked.body,
            **streamed,
            "seed": asked.seed,
            **({} if name is None else {"model": name}),
        }
        request = request_line(url, body, key=cls.key_variable(asked))
        return Reproduction(server=server, request=request)

    @classmethod
    def chat_url(cls, asked: Asked) -> str:
        """Return the url of the chat API, quoted for a shell; empty where nothing can be asked."""
        return local_chat_url(asked.command, "/v1")

    @classmethod
    def model_name(cls, asked: Asked) -> str | None:
        """Return the name by which the trial's request called the model, if it is known."""
        told = flag_value(asked.command, "--alias")
        if told is None and asked.launch is not None:
            told = asked.launch.source.id
        if told is None:
            reported = asked.effective.get("model")
            told = reported.get("id") if isinstance(reported, dict) else None
        return told

    @classmethod
    def key_variable(cls, asked: Asked) -> str | None:
        """Return the variable that holds the server's key; None where it asks for none."""
        return None


def grids_of(backend: Backend, models: Iterable[Model]) -> Iterator[Mapping[str, Any]]:
    """Yield the grids of options of a backend, and of the models that it serves."""
    for grids in (backend.option_grids, *(model.options for model in models)):
        yield from grids if isinstance(grids, list | tuple) else [grids or {}]


def answer_of(data: Any, answer: Answer) -> ChatReply | Refusal | None:
    """Return what JSON means that is an answer in some kind's own API; None where it is none.

    Args:
        data: The JSON.
        answer: It as it would have been received.
    """
    for kind in kinds().known.values():
        if issubclass(kind, ServerKind) and kind.answers_like(data):
            return kind.understood(answer)
    return None


def server_of(backend: Backend) -> ServerKind:
    """Return a backend of the file as what can be run.

    Raises:
        ServerError: Its kind only describes files.
    """
    if isinstance(backend, ServerKind):
        return backend
    raise ServerError(
        f"the kind {backend.kind} cannot be run",
        hint=f"{type(backend).__qualname__} is to derive from {ServerKind.__qualname__}",
    )


def origin_in_file(launch: Launch) -> Origin:
    """Return what the file alone says of where a launch's server comes from."""
    spec = server_of(launch.spec)
    # Somebody may have written a secret into the file.
    env = {name: digest([name, value]) for name, value in spec.env_given.items()}
    origin = Origin(kind=spec.kind, replica=spec.replica, env=env)
    url = spec.origin_url
    if url is None:
        return origin
    parts = urlsplit(url)
    rest = [parts.username, parts.password, parts.query or None]
    hidden = digest(rest) if any(part is not None for part in rest) else ""
    return replace(origin, url=shown_url(url), url_rest=hidden)


def origin_of(launch: Launch, around: Surroundings, build: Build | None = None) -> Origin:
    """Return where a launch's server comes from, as it is now; `build` is what it runs.

    No large file is read: what a build says of the content is taken from it.
    """
    origin = origin_in_file(launch)
    try:
        origin = server_of(launch.spec).placed(launch, origin, around)
    except (ServerError, OSError) as error:
        origin = lacking(origin, error)
    return origin if build is None else origin.of_build(build)


def present_build(launch: Launch, around: Surroundings) -> PresentBuild:
    """Return the build that a launch would run now; starts nothing, fetches nothing.

    Where it cannot be told, the build is None and the note says why. Its origin is there in any
    case.
    """
    origin = origin_of(launch, around)
    try:
        return server_of(launch.spec).present(launch, origin, around)
    except (ServerError, OSError) as error:
        return unknown(origin, error, gone=True)


def binary_at(launch: Launch) -> Loc:
    """Return where the file names a launch's executable."""
    label = launch.coordinates.get("binary")
    return ("backends", launch.backend, "binary", *(() if label is None else (str(label),)))


def at_file(origin: Origin, path: Path) -> Origin:
    """Return an origin whose server is this executable."""
    with contextlib.suppress(OSError):
        real = path.resolve(strict=True)
        found = real.stat()
        return replace(origin, binary=str(real), size=found.st_size, modified_ns=found.st_mtime_ns)
    return replace(origin, binary=str(path))


def lacking(origin: Origin, what: str | MatrixbenchError | OSError) -> Origin:
    """Return an origin of which something is not on this machine."""
    named = getattr(what, "where", "")
    note = str(what).partition("\n")[0]
    return replace(origin, binary=origin.binary or named, missing=note)


def unknown(
    origin: Origin, why: str | MatrixbenchError | OSError, *, gone: bool = False
) -> PresentBuild:
    """Return that a build is not known; `gone` says that something is not on this machine."""
    note = str(why).partition("\n")[0]
    origin = lacking(origin, why) if gone else origin
    return PresentBuild(build=None, verified=False, note=note, origin=origin)


def names_files(options: Mapping[str, Any]) -> bool:
    """Return whether options may name files: whether any holds a text, a list or a mapping."""
    return any(isinstance(value, str | list | tuple | dict) for value in options.values())


_NAME_LENGTH = 80
"""File names stay well below the 255 bytes that file systems allow."""


def file_name(text: str) -> str:
    """Return a text as part of a file name: letters, digits, dots and dashes."""
    return re.sub(r"[^A-Za-z0-9._=-]+", "-", text).strip("-.")[:_NAME_LENGTH] or "launch"


def jinja_obstacle(template: Template) -> Obstacle | None:
    """Return that a template is written for another language than Jinja, or None."""
    if template.is_native or template.text is not None or template.known_as is not None:
        return None
    return Obstacle(
        f"the chat template {template.name} is written in Ollama's language only",
        "give it file: as well, in Jinja, or exclude these cells",
    )


def not_honoured(
    coordinates: Mapping[str, Any], honours: Iterable[str], server: str
) -> Obstacle | None:
    """Return why a server of unknown make cannot be sent a choice of sampling fields, or None.

    Args:
        coordinates: Axis → value.
        honours: What the file says that the server honours besides.
        server: What messages call it.
    """
    honoured = OPENAI_FIELDS.union(honours)
    for axis, value in coordinates.items():
        if value is not None and not axis.startswith(REQUEST) and axis not in honoured:
            return Obstacle(
                f"{axis} is not known to be honoured by this {server}",
                f"if it is, say honours: [{axis}]",
            )
    return None


# Lines of a shell.

STREAM_OPTIONS: JsonObject = {"stream_options": {"include_usage": True}}
"""What is added to a request that asks for a stream."""

URL_VARIABLE = "SERVER_URL"
"""Stands for the server's address where the launch's record does not tell it."""

_SECRET = re.compile(r"key|token|secret|password|credential|auth", re.IGNORECASE)
_BOTH_MEAN_ANY = {"0.0.0.0", "::"}  # noqa: S104  compared with, not bound to
_VARIABLE = re.compile(r"(?<!\$)\$\{([A-Za-z_][A-Za-z0-9_]*)\}")
_KEY_FLAGS = ("--api-key-file", "--api-key")


def local_chat_url(command: Sequence[str], base_path: str) -> str:
    """Return the chat url of a server that a command line starts, quoted for a shell."""
    port = flag_value(command, "--port")
    if port is None:
        return f'"${URL_VARIABLE}{base_path}/chat/completions"'
    host = flag_value(command, "--host") or "127.0.0.1"
    host = "127.0.0.1" if host in _BOTH_MEAN_ANY else host
    return shlex.quote(f"http://{host}:{port}{base_path}/chat/completions")


def server_line(env: Mapping[str, str], command: Sequence[str]) -> str:
    """Return the line that starts a server; a value that may be a secret stays a variable."""
    assignments = [
        f'{name}="${name}"' if _SECRET.search(name) else f"{name}={shlex.quote(value)}"
        for name, value in env.items()
    ]
    return " ".join([*assignments, shlex.join(command)]) if command else ""


def request_line(url: str, body: JsonObject, *, key: str | None = None) -> str:
    """Return the line that sends a body; `key` is the variable that holds a server's key."""
    # Without -N, curl holds back what streams.
    words = ["curl", "-sSN" if body.get("stream") else "-sS", url]
    words += ["-H", shlex.quote("Content-Type: application/json")]
    if key:
        # In double quotes, for the shell has to put the key in.
        words += ["-H", f'"Authorization: Bearer ${key}"']
    words += ["-d", shlex.quote(json.dumps(body, separators=(",", ":")))]
    return " ".join(words)


def without_key(command: Sequence[str]) -> list[str]:
    """Return a command line without the flags that name a key."""
    kept: list[str] = []
    words = iter(command)
    for word in words:
        if word in _KEY_FLAGS:
            next(words, None)
        elif not word.startswith(tuple(f"{flag}=" for flag in _KEY_FLAGS)):
            kept.append(word)
    return kept


def flag_value(command: Sequence[str], flag: str) -> str | None:
    """Return what a command line says behind a flag, or None."""
    for word, following in pairwise([*command, ""]):
        if word == flag:
            return following
        if word.startswith(f"{flag}="):
            return word.partition("=")[2]
    return None
