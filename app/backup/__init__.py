"""Backups of databases: the Job that makes one, and what its pod does.

The service makes the manifest (`job`) from an order (`order`) and nothing else; the rest runs in the Job's pod as
`python -m app.backup`, so that no byte of a dump goes through the service. Never reads a Secret by itself.
"""
