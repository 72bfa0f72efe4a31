"""From an open incident to a decision: claim, resolve the target, investigate, gather facts, decide, request."""
