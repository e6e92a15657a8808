"""Runs the whole platform on one machine without Docker: PostgreSQL, Redis, workers and mail."""
