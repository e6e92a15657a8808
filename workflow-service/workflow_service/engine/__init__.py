"""The engine. Read definition, expressions, validation; then outcomes, runs, worker.

A run is moved by one kind of transaction: it holds the run's row, ends an attempt at a step, writes
history and makes the next step ready (runs.py). What a step does happens between two of those, in
no transaction, under a lease on the step's row (worker.py).
"""
