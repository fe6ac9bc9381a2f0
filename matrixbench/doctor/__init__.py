"""What this machine has of what an experiment needs. Starts no server, asks only loopback."""
