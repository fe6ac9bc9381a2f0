"""llama-server: a native one, or the one embedded in a wheel."""
