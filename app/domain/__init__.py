"""Words and rules: alert, target, workload, plan, decision, outcome, audit events, errors, ports.

Everything above depends on this package; it depends on nothing of ours. No I/O, no clock, no randomness.
"""
