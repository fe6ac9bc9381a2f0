"""mlx_lm.server for matrixbench: a kind of backend, and a check."""
