"""The workflow service: durable runs of JSON definitions, approvals, and AI assistance."""
