"""A job's own ssh keys."""

from __future__ import annotations

__all__ = ["make_keys"]


def make_keys() -> tuple[bytes, bytes]:
    """Return a new private key (PEM ``EC PRIVATE KEY``, P-521) and its authorized_keys line, as upstream makes them."""
    # Late: importing cryptography takes longer than the rest of the operator together.
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP521R1())
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.TraditionalOpenSSL,
        serialization.NoEncryption(),
    )
    public = key.public_key().public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
    return private, public + b"\n"
