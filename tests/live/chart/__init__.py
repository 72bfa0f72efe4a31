"""The chart with the real helm, and on a real API server."""
