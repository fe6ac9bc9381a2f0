"""The report: one page from the map to the transcript, and what it is made of."""
