"""Help from language models; without a key, from algorithms that need none. Start in asking.py."""
