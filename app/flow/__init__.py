"""The story of an alert, one chapter a file: ingest, decide, approve, run, verify, undo, escalate, deliver, sweep.

Brings policy, remediations, store, engine and the ports together. Never imports a concrete cluster, never reads the
operating system's clock, never decides a rule by itself.
"""
