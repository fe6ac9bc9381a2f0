"""How servers are started, asked and stopped."""
