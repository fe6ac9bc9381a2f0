"""From an experiment to a plan: pure, and blind to where trials are kept."""
