"""Sends notifications by email, SMS and webhook and to an inbox, and delivers them reliably."""
