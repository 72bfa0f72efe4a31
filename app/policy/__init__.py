"""Policy: which rule is for an alert, what it may do, and why. Pure; `app.policy.load` reads files, nothing else does I/O."""
