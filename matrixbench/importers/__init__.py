"""Other tools' result files, read into the store."""
