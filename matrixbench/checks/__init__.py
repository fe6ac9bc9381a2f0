"""Checks: pure functions from a reply to a verdict."""
