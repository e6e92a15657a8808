"""The content service; start reading at main.py."""
