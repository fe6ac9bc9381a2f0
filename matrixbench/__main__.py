"""`python -m matrixbench`, and the console script."""

from __future__ import annotations

from matrixbench.cli import main

if __name__ == "__main__":
    main()
