"""The domain store: schema and migrations, incidents, runs, ledger, audit trail, outbox as named queries.

Called by the flow, web and command line through `Store` (`app.store.database`) and the modules of this package, one a
table or two. Every function that changes a state appends the audit event for it in the same transaction.
Never knows the cluster, the policy or the engine.
"""
