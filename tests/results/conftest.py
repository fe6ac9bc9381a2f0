"""An experiment that has been run."""

from tests.output.conftest import demo

__all__ = ["demo"]
