"""Diagnosing: one screen about a workload or a namespace, for people. Reads only."""
