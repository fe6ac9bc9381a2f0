"""The results of an experiment: opened once, counted once, as tables and as totals."""
