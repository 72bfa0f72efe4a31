"""The container image without a container engine: its recipe read, and its steps carried out in a folder."""
