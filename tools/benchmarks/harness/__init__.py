"""Shared parts of the benchmarks: a stack, a load generator, and the bars."""
