"""The scheduler of the local cluster."""
