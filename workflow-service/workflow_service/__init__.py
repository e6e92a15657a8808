"""The workflow service: durable runs of JSON definitions, approvals, and help from models."""
