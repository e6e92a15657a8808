"""Items: what can be done with them."""
