"""matrixbench: decide which server build, model, chat template and settings to run."""
