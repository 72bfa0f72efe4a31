"""The way of an alert, one room for each part of it: deciding, running, people, notifying, upkeep.

Brings policy, remediations, store, engine and the ports together. Never imports a concrete cluster, never reads the
operating system's clock, never decides a rule by itself.
"""
