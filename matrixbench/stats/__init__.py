"""Statistics for proportions: numbers in, numbers out, each with its source."""
