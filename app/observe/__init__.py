"""What is read from and told to the outside besides the cluster: logs, metrics, Prometheus, Alertmanager, PagerDuty, time."""
