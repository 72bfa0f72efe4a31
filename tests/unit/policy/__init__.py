"""Tests of the policy: units, matchers, calendar, loading, every gate, decisions and their explanations."""
