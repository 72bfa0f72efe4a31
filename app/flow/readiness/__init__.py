"""What this process may do and can do: its rights at the API server, and whether it is ready."""
