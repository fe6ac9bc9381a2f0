"""Pairs of cells in, a comparison out: which differ, and whether the candidate is no worse."""
