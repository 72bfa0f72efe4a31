"""Durable execution behind one narrow contract (`context.py`).

`durable.py` is the only importer of the workflow library; `memory.py` is its in-memory twin for scenarios, rehearsals
and the crash harness. Both pass the same contract tests. Knows nothing of alerts or remediations.
"""
