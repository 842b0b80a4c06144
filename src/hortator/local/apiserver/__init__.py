"""The API server of the local cluster: scheme, strategies, registry, storage, watch, patch, admission."""
