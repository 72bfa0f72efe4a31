"""The chart installed, upgraded and checked on the real API server, by Helm."""
