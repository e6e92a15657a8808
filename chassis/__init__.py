"""The microservice chassis: what every service needs, once. It imports no service."""
