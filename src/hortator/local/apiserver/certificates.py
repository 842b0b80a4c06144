"""The cluster's own certificate authority, the server's certificate, and the key that signs ServiceAccount tokens.

Everything lives in one folder of the data directory, readable by the owner only, and is made when it is first needed.
cryptography is imported here and only when a key has to be made, since it costs time and memory.
"""

from __future__ import annotations

import os
import ssl
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

__all__ = ["Certificates", "ensure", "issue_client", "server_context"]

_CA_DAYS = 3650
_LEAF_DAYS = 825
_RENEW_DAYS = 90


@dataclass(frozen=True, slots=True)
class Certificates:
    """Where the files are. PEM throughout."""

    folder: Path

    @property
    def ca(self) -> Path:
        """The authority's certificate."""
        return self.folder / "ca.crt"

    @property
    def ca_key(self) -> Path:
        """The authority's key."""
        return self.folder / "ca.key"

    @property
    def server(self) -> Path:
        """The server's certificate and key, in one file."""
        return self.folder / "server.pem"


def ensure(folder: Path, *, names: tuple[str, ...] = (), now: datetime | None = None) -> Certificates:
    """Return the certificates of a folder, making what is missing or about to expire. Takes milliseconds; blocks.

    ``names`` are further DNS names or addresses of the server. Raises ``OSError`` when the folder cannot be written.
    """
    now = now or datetime.now(UTC)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    certificates = Certificates(folder)
    fresh_ca = not (certificates.ca.exists() and certificates.ca_key.exists())
    if fresh_ca:
        _make_ca(certificates, now)
    wanted = ",".join(sorted(names))
    marker = folder / "server.names"
    if fresh_ca or not certificates.server.exists() or not _still_good(marker, wanted, now):
        _make_server(certificates, names, now)
        until = now + timedelta(days=_LEAF_DAYS - _RENEW_DAYS)
        _write_private(marker, f"{wanted}\n{until.isoformat()}\n".encode())
    return certificates


def server_context(certificates: Certificates) -> ssl.SSLContext:
    """Return the TLS settings of the server: clients may show a certificate of our authority."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(certificates.ca))
    context.load_cert_chain(certificates.server)
    context.verify_mode = ssl.CERT_OPTIONAL
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    return context


def issue_client(
    certificates: Certificates, name: str, groups: tuple[str, ...] = (), *, now: datetime | None = None
) -> tuple[bytes, bytes]:
    """Return a client certificate and its key (PEM) for a user of these groups."""
    from cryptography.x509.oid import ExtendedKeyUsageOID

    now = now or datetime.now(UTC)
    key = _new_key()
    certificate = _sign(certificates, key, name, groups, ExtendedKeyUsageOID.CLIENT_AUTH, (), now)
    return certificate, _key_pem(key)


def _still_good(marker: Path, names: str, now: datetime) -> bool:
    """Whether the certificate is for these names and not near its end, by the note beside it.

    Reading the certificate itself would import cryptography at every start, which takes longer than all else here.
    """
    try:
        kept, until = marker.read_text().splitlines()
        return kept == names and now < datetime.fromisoformat(until)
    except (OSError, ValueError):
        return False


def _new_key() -> Any:
    from cryptography.hazmat.primitives.asymmetric import ec

    return ec.generate_private_key(ec.SECP256R1())


def _key_pem(key: Any) -> bytes:
    from cryptography.hazmat.primitives import serialization

    pem: bytes = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return pem


def _make_ca(certificates: Certificates, now: datetime) -> None:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.x509.oid import NameOID

    key = _new_key()
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "hortator-ca")])
    usage = x509.KeyUsage(True, False, False, False, False, True, True, False, False)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=_CA_DAYS))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    _write_private(certificates.ca_key, _key_pem(key))
    _write_private(certificates.ca, certificate.public_bytes(serialization.Encoding.PEM))


def _make_server(certificates: Certificates, names: tuple[str, ...], now: datetime) -> None:
    from cryptography.x509.oid import ExtendedKeyUsageOID

    key = _new_key()
    all_names = (
        "localhost",
        "127.0.0.1",
        "::1",
        "kubernetes",
        "kubernetes.default",
        "kubernetes.default.svc",
        "kubernetes.default.svc.cluster.local",
        *names,
    )
    certificate = _sign(certificates, key, "hortator", (), ExtendedKeyUsageOID.SERVER_AUTH, all_names, now)
    _write_private(certificates.server, certificate + _key_pem(key))


def _sign(
    certificates: Certificates,
    key: Any,
    name: str,
    groups: tuple[str, ...],
    usage: Any,
    alternative: tuple[str, ...],
    now: datetime,
) -> bytes:
    import ipaddress

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.x509.oid import NameOID

    ca = x509.load_pem_x509_certificate(certificates.ca.read_bytes())
    ca_key = serialization.load_pem_private_key(certificates.ca_key.read_bytes(), None)
    subject = x509.Name(
        [x509.NameAttribute(NameOID.ORGANIZATION_NAME, group) for group in groups]
        + [x509.NameAttribute(NameOID.COMMON_NAME, name)]
    )
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(ca.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=_LEAF_DAYS))
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(
            x509.KeyUsage(True, False, True, False, False, False, False, False, False), critical=True
        )
        .add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(ca.public_key()),  # type: ignore[arg-type]
            critical=False,
        )
    )
    if alternative:
        general: list[x509.GeneralName] = []
        for text in dict.fromkeys(alternative):
            try:
                general.append(x509.IPAddress(ipaddress.ip_address(text)))
            except ValueError:
                general.append(x509.DNSName(text))
        builder = builder.add_extension(x509.SubjectAlternativeName(general), critical=False)
    return builder.sign(ca_key, hashes.SHA256()).public_bytes(  # type: ignore[arg-type]
        serialization.Encoding.PEM
    )


def _write_private(path: Path, data: bytes) -> None:
    """Write a file that only the owner can read, whole or not at all."""
    temporary = path.with_name(path.name + ".new")
    descriptor = os.open(temporary, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
    temporary.replace(path)
