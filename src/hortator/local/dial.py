"""Why a connection could not be made, in the words that people know from other clusters (Go's). Pure."""

from __future__ import annotations

import os

__all__ = ["dial_failure"]


def dial_failure(host: str, port: int, error: OSError) -> str:
    """Return the sentence for an attempt to connect that failed."""
    address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    if isinstance(error, TimeoutError) and not error.errno:
        return f"dial tcp {address}: i/o timeout"
    # asyncio puts sentences of its own where the system's should be.
    reason = os.strerror(error.errno).lower() if error.errno and error.errno > 0 else str(error)
    return f"dial tcp {address}: connect: {reason}"
