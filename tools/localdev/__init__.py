"""The whole platform on one machine without Docker: real PostgreSQL, Redis, workers and mail."""
