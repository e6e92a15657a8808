"""Creates, removes and ejects services: `make new-service`, `remove-service` and `eject`."""
