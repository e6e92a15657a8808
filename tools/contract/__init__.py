"""Holds the OpenAPI documents to what the services answer; README.md lists the steps."""
