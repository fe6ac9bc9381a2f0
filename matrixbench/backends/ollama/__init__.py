"""Ollama: its server, its models, its own chat API."""
