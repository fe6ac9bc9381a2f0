"""Pairs of cells in, a comparison out: which differ, and whether the candidate is no worse.

Pure: it knows nothing of files, stores or plans. `values` says what goes in and comes out, `cells`
compares one pair, `totals` many, `rounds` looks after each round, `gate` decides, `data` is the
outcome as plain data.
"""
