"""The command line in an empty folder."""

from tests.cli.conftest import cli

__all__ = ["cli"]
