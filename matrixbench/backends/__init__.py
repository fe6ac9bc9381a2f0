"""How servers are started, asked and stopped: one kind of backend a file."""
