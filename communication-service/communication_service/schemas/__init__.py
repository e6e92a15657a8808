"""Requests and responses of the API, by noun."""
