"""The doctor: each planted fault is found and named."""
