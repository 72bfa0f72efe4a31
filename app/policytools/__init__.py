"""Tools for policies that need no running service: lint, tests, backtests, and what-if explanations.

They judge with the live gates of `app.policy`; only facts, clocks and alerts are assumed or recorded. Called by the command
line. The service never imports this package.
"""
