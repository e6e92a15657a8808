"""The engine. Read definition, expressions, outcomes; then runs, asking, children; then worker.

A run is moved by one kind of transaction: it holds the run's row, ends an attempt at a step, writes
history and makes the next steps ready (runs.py). What a step does happens between two of those, in
no transaction, under a lease on the step's row (worker.py). The rest is small: validation of
definitions, what a person does with a run (controls.py, again.py), and what becomes of one that is
late or costly (sla.py, budget.py).
"""
