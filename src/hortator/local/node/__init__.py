"""The nodes of the local cluster: pods as process trees."""
