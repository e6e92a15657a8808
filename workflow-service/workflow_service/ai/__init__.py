"""Calls to language models, and algorithms that answer without one. Start reading in client.py."""
