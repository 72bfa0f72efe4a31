"""Canaries: values that must not leave, planted everywhere a cluster or a sender may hold a secret, and a search of all that is kept or told."""
