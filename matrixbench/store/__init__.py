"""Where every trial is kept: one SQLite file, one writer a process, readers that never write."""
