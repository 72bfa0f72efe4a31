"""The service as real processes, from a real Alertmanager to a real API server."""
