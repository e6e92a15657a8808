"""The bodies of requests and responses, one module for each noun of the API."""
