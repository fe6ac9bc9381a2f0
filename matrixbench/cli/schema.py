"""`schema`: what editors check experiment files with."""

from __future__ import annotations

from matrixbench.cli.shared import put_data
from matrixbench.spec.schema import experiment_schema, schema_text


def schema() -> None:
    """Print the JSON Schema of experiment files, for editors."""
    put_data(schema_text(experiment_schema()), nl=False)
