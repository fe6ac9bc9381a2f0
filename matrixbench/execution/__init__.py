"""Running a plan: launches one after another, trials interleaved, each stored as it happens."""
