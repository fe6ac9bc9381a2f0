"""Test suites that ship with matrixbench."""
