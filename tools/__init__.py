"""Tools around the services: run, demonstrate, check, fork and measure them."""
