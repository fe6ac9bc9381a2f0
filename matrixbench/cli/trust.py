"""Whether what a file names may run: asked once on a terminal, said with `--trust` elsewhere."""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

import typer

from matrixbench.cli.shared import say
from matrixbench.errors import UsageError
from matrixbench.execution.trust import (
    TRUST_VARIABLE,
    accept,
    accepted_for,
    has_to_be_trusted,
    uses_of,
)
from matrixbench.output.trust import brief, lines_of
from matrixbench.spec.trust import TRUSTED, Trust, UseKind

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matrixbench.execution.settings import Settings
    from matrixbench.spec.load import Experiment
    from matrixbench.spec.trust import Use

Trusting = Annotated[
    bool,
    typer.Option(
        "--trust",
        help="Trust what the file names (programs, Python modules, …), and remember that.",
        show_default=False,
    ),
]

PAGE = "docs/safety.md"


def to_look(
    experiment: Experiment,
    settings: Settings,
    *,
    trust: bool,
    asking: bool = False,
    quiet: bool = False,
) -> Settings:
    """Return the settings of a command that only looks: what may run for it.

    Args:
        experiment: The experiment.
        settings: Its settings.
        trust: Whether the user said `--trust`.
        asking: Whether servers that run already would be asked as well.
        quiet: Whether nobody is asked, nor told: they were before.
    """
    if os.environ.get(TRUST_VARIABLE) == "1":
        return settings
    uses = has_to_be_trusted(uses_of(experiment, settings))
    if not uses:
        return settings
    if trust:
        _remember(experiment, settings, uses)
        return settings
    accepted = accepted_for(experiment, settings)
    new = [use for use in uses if use.key not in accepted]
    if quiet:
        return replace(settings, trust=Trust(accepted))
    if any(use.at_look or asking for use in new) and _on_terminal() and _asked(experiment, new):
        _remember(experiment, settings, uses)
        return settings
    return replace(settings, trust=Trust(accepted, _LeftOpen(experiment).say))


def to_run(
    experiment: Experiment, settings: Settings, *, trust: bool, judging: bool = False
) -> Settings:
    """Say what a command that runs the file uses, and return the settings of what is trusted.

    Args:
        experiment: The experiment.
        settings: Its settings.
        trust: Whether the user said `--trust`.
        judging: Whether it runs no more than the checks.

    Raises:
        UsageError: It was asked on a terminal, and the answer was no.
    """
    uses = has_to_be_trusted(uses_of(experiment, settings))
    if judging:
        uses = [use for use in uses if use.kind is UseKind.MODULE]
    if not uses:
        return settings
    always = os.environ.get(TRUST_VARIABLE) == "1"
    accepted = accepted_for(experiment, settings)
    new = [use for use in uses if use.key not in accepted]
    if new and not (trust or always) and _on_terminal():
        if not _asked(experiment, new):
            raise UsageError(
                "nothing was run: the file is not trusted",
                where=str(experiment.path),
                hint=f"--trust runs it without a question; {PAGE} says what it may do",
            )
    else:
        say(f"{experiment.path.name} uses {brief(uses)}")
    if not always:
        _remember(experiment, settings, uses)
    return replace(settings, trust=TRUSTED)


class _LeftOpen:
    """Says what was left open, and after the first what to do about it."""

    def __init__(self, experiment: Experiment) -> None:
        self._name = experiment.path.name
        self._told = False

    def say(self, what: str) -> None:
        say(f"not trusted: {what}")
        if not self._told:
            say(f"  --trust trusts what {self._name} names; `plan --explain` lists it ({PAGE})")
        self._told = True


def _on_terminal() -> bool:
    return sys.stdin.isatty() and sys.stderr.isatty()


def _asked(experiment: Experiment, new: Sequence[Use]) -> bool:
    say(f"{experiment.path} uses what was not trusted before:")
    for line in lines_of(new):
        say(f"  {line}")
    try:
        return typer.confirm("trust it?", err=True)
    except typer.Abort:
        say("")
        return False


def _remember(experiment: Experiment, settings: Settings, uses: Sequence[Use]) -> None:
    try:
        accept(experiment, settings, uses)
    except OSError as error:
        say(f"warning: that it is trusted cannot be remembered: {error.strerror or error}")
