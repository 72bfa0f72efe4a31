"""The gates: each is a pure function of a `Case` that answers with what it measured and the policy's threshold, under the name of its `Voice`.

Their order stands in `app.policy.decide`. CONTRIBUTING.md says how to add one.
"""
