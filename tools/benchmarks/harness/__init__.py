"""What every benchmark uses: a stack of its own, a load generator, and the bars."""
