"""Help from language models; without a key, from an algorithm that needs none."""
