"""Users, tokens, roles and permissions. Start reading in main.py."""
