"""The engine. Read definition, expressions, outcomes; runs, flow, lanes, ending; attempts, worker.

A run is moved by one kind of transaction: it holds the run's row (runs.py), ends attempts at steps,
writes history and makes the next steps ready (flow.py). What a step does happens between two of
those, in no transaction, under a lease on the step's row (attempts.py). The rest is small: what
expressions see (sight.py), tasks for people (asking.py), runs in runs (children.py), what a person
does with a run (controls.py, again.py), what becomes of one that is late or costly (sla.py,
budget.py), and what is wrong with a definition (validation.py).
"""
