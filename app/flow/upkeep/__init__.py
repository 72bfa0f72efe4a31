"""The loops that keep everything moving, the policy in force, the gauges."""
