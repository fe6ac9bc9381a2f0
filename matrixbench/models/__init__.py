"""Model files: found on this machine, or fetched from a hub or a package index."""
