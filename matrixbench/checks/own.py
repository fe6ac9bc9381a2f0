"""Checks in Python: functions from beside the file, from the import path, or of installed packages.

A function of the file's folder is imported under a private name, in a package that stands for the
folder: nothing is put on the import path, so that a file there can neither hide a module of
somebody else's nor clash with one of another folder. Modules beside it are imported relatively.
"""

from __future__ import annotations

import importlib
import inspect
import re
import sys
from collections.abc import Callable
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from difflib import get_close_matches
from importlib.machinery import (
    EXTENSION_SUFFIXES,
    SOURCE_SUFFIXES,
    ExtensionFileLoader,
    FileFinder,
    SourceFileLoader,
)
from pathlib import Path
from traceback import extract_tb
from types import ModuleType
from typing import TYPE_CHECKING, Any, Concatenate, NoReturn, TypeAlias

from matrixbench.checks.own_files import digest_of, foreseen_source, home_of, is_in, module_uses
from matrixbench.checks.verdicts import UnjudgeableError, no, one_line, shown, yes
from matrixbench.errors import CheckError
from matrixbench.extensions import CHECKS, ExtensionError, extensions
from matrixbench.identity import digest
from matrixbench.records import ChatReply, Kind, Verdict
from matrixbench.spec.trust import TRUSTED

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from importlib.machinery import ModuleSpec
    from types import CodeType

    from matrixbench.spec.checks import NamedCheck, PythonCheck
    from matrixbench.spec.trust import Trust, Use

PYTHON = "python"

CheckResult: TypeAlias = bool | float | str | Verdict
"""What a function of one's own returns: yes or no; a score from 0 to 1; a text, which is a no with
its reason; or a verdict, which has all of them."""

OwnCheck: TypeAlias = Callable[Concatenate[ChatReply, ...], CheckResult]
"""A function of one's own: from a reply, and the check's `arguments` by name, to what it says."""

_LEAVING = (SystemExit, GeneratorExit)
"""What a function may raise that is no `Exception`, and yet must not end the run."""

_SOURCES = "__matrixbench_sources__"
_ROOT = "_matrixbench_own_"
_PRIVATE = re.compile(rf"{_ROOT}[0-9a-f]+(\.?)")


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnFunction:
    """A function that was loaded.

    Args:
        name: `package.module:function`.
        source: Digest of the files that it was loaded from; empty where they cannot be read.
        check: What its verdicts call the check.
        at: `module:path` of the function, from which the worker process loads it.
        folder: Where its module lies; None where it is on the import path.
        code: Digest of the module's files, by which the worker knows that it has the same.
        closed: Why it was not loaded; empty where it was.
    """

    name: str
    function: Callable[..., object]
    source: str
    check: str = PYTHON
    at: str = ""
    folder: Path | None = None
    code: str = ""
    closed: str = ""


def load_own(
    check: PythonCheck, folder: Path | None, trust: Trust = TRUSTED, *, where: str = ""
) -> OwnFunction:
    """Return the function that a check names. This runs the code of its module, where it may.

    Args:
        folder: Where the module is looked for before the import path is.
        trust: What may run. A function that may not has its digest, and is `closed`.

    Raises:
        CheckError: There is no such function, its module cannot be imported, or it does not take
            the check's arguments.
    """
    module_name, _, path = check.python.partition(":")
    home = home_of(folder, module_name)
    if trust.accepted is not None:
        key = (folder, module_name)
        uses = trust.once(("uses", key), lambda: module_uses(module_name, folder))
        if not trust.allows(uses):
            source = trust.once(key, lambda: foreseen_source(home, module_name))
            return _closed(check.python, source, [use for use in uses if not trust.allows([use])])
    try:
        with _aside():
            module = _module(module_name, home)
    except (Exception, *_LEAVING) as error:
        raise _not_imported(error, module_name, folder, where) from error
    function: Any = module
    for step in path.split("."):
        if not hasattr(function, step):
            raise _not_there(function, module_name, step, where)
        function = getattr(function, step)
    _check_callable(check.python, check.arguments, function, where)
    source = _source(module)
    return OwnFunction(
        name=check.python,
        function=function,
        source=source,
        at=check.python,
        folder=home,
        code=source,
    )


def _closed(name: str, source: str, lacking: Sequence[Use]) -> OwnFunction:
    """Return what stands for a function that may not be loaded."""
    files = ", ".join(Path(use.name).name for use in lacking)
    closed = f"{files} {'is' if len(lacking) == 1 else 'are'} not trusted"
    return OwnFunction(name=name, function=_judges_nothing, source=source, closed=closed)


def _judges_nothing(*_: object, **__: object) -> NoReturn:
    raise UnjudgeableError(Kind.CHECK_RAISED, "it was not loaded")


def load_named(check: NamedCheck, *, where: str = "") -> OwnFunction:
    """Return the function of a check that an installed package brings. This runs its code.

    What stands for it is its module's file and the package's version: an upgrade judges anew.

    Raises:
        CheckError: No package brings it, or its function cannot be used.
    """
    known = extensions(CHECKS)
    if check.check not in known:
        near = get_close_matches(check.check, list(known), n=1)
        meant = f"perhaps you meant {near[0]}; " if near else ""
        raise CheckError(
            f"no installed package brings the check «{check.check}»",
            where=where,
            hint=f"{meant}installed: {', '.join(known) or 'none'} (docs/extending.md)",
        )
    extension = known[check.check]
    try:
        with _aside():
            function = extension.load()
    except ExtensionError as error:
        raise CheckError(str(error), where=where) from error
    _check_callable(check.check, check.arguments, function, where)
    module = sys.modules.get(getattr(function, "__module__", ""))
    file = "" if module is None else _source(module)
    source = digest([extension.package, extension.version, file])
    at = extension.value.partition("[")[0].strip()  # without the extras that it may name
    return OwnFunction(
        name=check.check,
        function=function,
        source=source,
        check=check.check,
        at=at,
        code=_source(sys.modules[at.partition(":")[0]]),
    )


def loaded_again(at: str, folder: Path | None) -> tuple[Callable[..., object], str]:
    """Return a function that was loaded elsewhere, and the digest of its files. This runs code."""
    module_name, _, path = at.partition(":")
    module = _module(module_name, folder)
    function: Any = module
    for step in path.split("."):
        function = getattr(function, step)
    return function, _source(module)


def ask(own: OwnFunction, arguments: dict[str, Any], threshold: float, reply: ChatReply) -> Verdict:
    """Return what a function says of a reply, both of which it may change.

    Raises:
        UnjudgeableError: It raised.
        TypeError: It returned something else than it may.
        ValueError: It returned a score that is none.
    """
    found = shown(reply.content)
    try:
        with _aside():
            said = _plain(own.function(reply, **arguments))
    except BaseException as error:
        reason = f"{own.name} raised {told(error)}{_line_of(error)}"
        raise UnjudgeableError(Kind.CHECK_RAISED, reason) from error
    match said:
        case True:
            return yes(own.check)
        case False:
            return no(own.check, Kind.OWN_CHECK, f"{own.name} says no of {found}")
        case str():
            return no(own.check, Kind.OWN_CHECK, said or f"{own.name} says no")
        case Verdict():
            return _own_verdict(said, own)
        case int() | float():
            score = _score(said, own.name)
            if score >= threshold:
                return yes(own.check, score)
            reason = f"expected a score of at least {threshold:g}, found {score:.3g}"
            return no(own.check, Kind.OWN_CHECK, reason, score)
        case _:
            kind = type(said).__name__
            raise TypeError(f"{own.name} returned {kind}, not a bool, number, text or Verdict")


@contextmanager
def _aside() -> Iterator[None]:
    """Send what somebody's code prints to where logs go: standard output is for results."""
    with redirect_stdout(sys.stderr):
        yield


def _plain(said: object) -> object:
    """Return what a function said as Python has it: NumPy and PyTorch have numbers of their own."""
    if isinstance(said, bool | int | float | str | Verdict):
        return said
    item = getattr(said, "item", None)
    return item() if callable(item) else said


def _own_verdict(said: Verdict, own: OwnFunction) -> Verdict:
    score = None if said.score is None else _score(said.score, own.name)
    if said.passed:
        return yes(own.check, score)
    kind = Kind(
        said.kind or Kind.OWN_CHECK
    )  # a text that names none raises: it could not be stored
    return no(own.check, kind, said.reason or f"{own.name} says no", score)


def _score(number: float, name: str) -> float:
    if not 0 <= number <= 1:
        raise ValueError(f"{name} returned the score {number!r}, which is not between 0 and 1")
    return float(number)


def _module(name: str, folder: Path | None) -> ModuleType:
    return importlib.import_module(name) if folder is None else _of_folder(folder, name)


def _of_folder(folder: Path, name: str) -> ModuleType:
    """Import a module of a folder, again where one of its files has changed since."""
    root = f"{_ROOT}{digest({'folder': str(folder), 'module': name})}"
    there = sys.modules.get(root)
    if there is None or any(
        digest_of(path) != known for path, known in getattr(there, _SOURCES).items()
    ):
        _forget(root)
        if _FromFolder not in sys.meta_path:
            sys.meta_path.insert(0, _FromFolder)
        package = ModuleType(root)
        package.__path__ = [str(folder)]
        sys.modules[root] = package
        try:
            importlib.import_module(f"{root}.{name}")
        except BaseException:
            _forget(root)
            raise
        setattr(package, _SOURCES, _files_of(root))
    return sys.modules[f"{root}.{name}"]


class _FromSource(SourceFileLoader):
    """Loads a module by its source alone, and leaves no file in the user's folder.

    Bytecode beside it need not be what the source says: one of the same second is taken for new,
    and one may say that nobody is to compare it.
    """

    def get_code(self, fullname: str) -> CodeType:
        """Return the compiled source."""
        path = self.get_filename(fullname)
        return self.source_to_code(self.get_data(path), path)


class _FromFolder:
    """Finds the modules under our private names, and no others."""

    @staticmethod
    def find_spec(
        name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Return where a module is; None where it is not."""
        if not name.startswith(_ROOT) or path is None:
            return None
        loaders = ((ExtensionFileLoader, EXTENSION_SUFFIXES), (_FromSource, SOURCE_SUFFIXES))
        for place in path:
            if (found := FileFinder(place, *loaders).find_spec(name, target)) is not None:
                return found
        return None


def _forget(root: str) -> None:
    for name in [name for name in sys.modules if name == root or name.startswith(f"{root}.")]:
        del sys.modules[name]


def _files_of(root: str) -> dict[str, str]:
    files = (
        getattr(module, "__file__", None)
        for name, module in sorted(sys.modules.items())
        if name.startswith(f"{root}.")
    )
    return {file: digest_of(file) for file in files if file}


def _source(module: ModuleType) -> str:
    """Return what stands for a module by content."""
    package = sys.modules.get(module.__name__.partition(".")[0])
    known: Mapping[str, str] | None = getattr(package, _SOURCES, None)
    if known is not None:
        return digest(list(known.values()))
    file = getattr(module, "__file__", None)
    return digest_of(file) if file else ""


def _check_callable(name: str, arguments: Mapping[str, Any], function: Any, where: str) -> None:
    if not callable(function):
        found = type(function).__name__
        raise CheckError(f"{name} is no function, but of type {found}", where=where)
    if inspect.iscoroutinefunction(function):
        raise CheckError(f"{name} is async; a check is a plain function", where=where)
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):  # some built-in functions do not say what they take
        return
    try:
        signature.bind(None, **arguments)
    except TypeError as error:
        raise CheckError(
            f"{name} does not take the reply and these arguments: {error}",
            where=where,
            hint=f"it is {name.rpartition(':')[2]}{signature}; "
            "what stands under `arguments:` is given by name",
        ) from error


def _not_imported(error: BaseException, module: str, folder: Path | None, where: str) -> CheckError:
    beside = (
        "" if folder is None else f"{folder.joinpath(*module.split('.'))}.py is not there, and "
    )
    if isinstance(error, ModuleNotFoundError) and error.name:
        if f"{module}.".startswith(f"{error.name}."):
            return CheckError(
                f"there is no module {module}",
                where=where,
                hint=f"{beside}the import path has no {error.name}",
            )
        if folder is not None and is_in(folder, error.name):
            return CheckError(
                f"the module {module} cannot be imported: {error}",
                where=where,
                hint=f"a module of its own folder is imported as: from . import {error.name}",
            )
    return CheckError(
        f"the module {module} cannot be imported: {one_line(told(error), 200)}",
        where=where,
        hint=f"it fails{_line_of(error)}" if _line_of(error) else "",
    )


def told(error: BaseException) -> str:
    """Return an error as people know it: without the private name of the folder's package."""
    said = _PRIVATE.sub(lambda found: "" if found[1] else ".", str(error))
    return f"{type(error).__name__}: {said}".removesuffix(": ")


def _line_of(error: BaseException) -> str:
    """Return where in somebody's code an error happened: ` at FILE:LINE`; empty where unknown."""
    if isinstance(error, SyntaxError) and error.filename:
        return f" at {Path(error.filename).name}:{error.lineno}"
    frames = [
        frame
        for frame in extract_tb(error.__traceback__)
        if not frame.filename.startswith("<") and frame.filename != __file__
    ]
    own = [frame for frame in frames if Path(frame.filename).parent.name != "importlib"]
    return f" at {Path(own[-1].filename).name}:{own[-1].lineno}" if own else ""


def _not_there(holder: object, module: str, name: str, where: str) -> CheckError:
    home = getattr(holder, "__module__", getattr(holder, "__name__", None))
    names = [
        known
        for known, value in vars(holder).items()
        if callable(value) and getattr(value, "__module__", None) == home
    ]
    near = get_close_matches(name, names, n=1)
    meant = f"perhaps you meant {near[0]}; " if near else ""
    listed = ", ".join(known for known in names if not known.startswith("_"))
    return CheckError(
        f"the module {module} has no function «{name}»",
        where=where,
        hint=f"{meant}its functions are {listed or 'none'}",
    )
