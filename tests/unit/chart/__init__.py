"""The Helm chart: its schema, its generated parts, and what it renders."""
