"""The microservice chassis: what is standard for every service, once. It imports no service."""
