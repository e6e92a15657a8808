"""Notifications by mail and in-app, from templates, delivered whatever dies on the way."""
