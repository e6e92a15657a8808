"""Who everybody is and what they may do. Start reading in main.py."""
