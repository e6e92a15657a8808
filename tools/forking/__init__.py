"""Services that are made, taken out and sent off on their own: `make new-service` and its kin."""
