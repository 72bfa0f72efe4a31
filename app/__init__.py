"""alert-remediator: the service. ARCHITECTURE.md tells what belongs where."""
