"""What answers the requests: one module for each family of paths."""
