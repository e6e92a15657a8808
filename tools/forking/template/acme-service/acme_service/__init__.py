"""The acme service; start reading at main.py."""
