"""The engine: it moves runs from step to step. What happens to a step, in reading order:

1. scheduling.py   puts it into the queue with its input, which context.py evaluates.
2. worker.py       claims what is due, every cycle; execution.py makes the attempt, outside of any
                   transaction, and hands the result to transitions.py. retries.py: if it failed.
3. transitions.py  decides what follows. It alone handles the events of events.py, which all others
                   report: fan_out.py (branches and their join), subworkflows.py (runs that steps
                   start), human_tasks.py (approvals), compensation.py (undoing), budget.py.
4. transaction.py  holds the locked run meanwhile, and writes its steps and its history.

Users act with controls.py (pause, resume, cancel) and reruns.py (retry, rerun); time acts with
sla.py; a run that cannot be moved ends in unprocessable.py. The values are in statuses.py.
"""
