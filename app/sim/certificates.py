"""Certificates of the simulated cluster: made without chance, so that a world is the same each time.

Used by the simulated cert-manager. The key is derived from the name and protects nothing.
"""

from __future__ import annotations

import hashlib
from datetime import datetime

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID


def certificate_pem(seed: str, names: list[str], begin: datetime, end: datetime) -> bytes:
    """A self-signed certificate in PEM; its serial number is that of the seed."""
    drawn = hashlib.sha256(seed.encode()).digest()
    key = Ed25519PrivateKey.from_private_bytes(drawn)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, (names or ["simulated"])[0][:64])])
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(int.from_bytes(drawn[:8]) >> 1 | 1)
        .not_valid_before(begin)
        .not_valid_after(end)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(n) for n in names]), critical=False)
    )
    return builder.sign(key, None).public_bytes(Encoding.PEM)
