"""What is read of an X.509 certificate: serial number, end, and names. A certificate is public; keys are never parsed here.

Used by whoever looks at a certificate in a Secret or in a TLS handshake. Pure.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from cryptography import x509
from cryptography.exceptions import InternalError, UnsupportedAlgorithm

from app.domain.errors import BadInput

_LONGEST: Final = 256 * 1024
_BEGIN: Final = b"-----BEGIN CERTIFICATE-----"
_END: Final = b"-----END CERTIFICATE-----"
_UNREADABLE: Final = (
    ValueError, TypeError, OverflowError, x509.InvalidVersion, x509.UnsupportedGeneralNameType, UnsupportedAlgorithm, InternalError
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Issued:
    """One certificate: `serial` as hex digits without leading zeros, `not_after` in UTC."""

    serial: str
    not_after: datetime


def of_pem(data: bytes) -> Issued:
    """The first certificate of a chain in PEM; what stands around it is not looked at. Raises BadInput without quoting it."""
    begin = data[:_LONGEST].find(_BEGIN)
    end = data[:_LONGEST].find(_END, begin)
    if begin < 0 or end < 0:
        raise BadInput("there is no certificate in PEM", code="bad_certificate")
    return _read(data[begin : end + len(_END)] + b"\n", pem=True)


def of_der(data: bytes) -> Issued:
    """A certificate as a handshake gives it. Raises BadInput without quoting it."""
    if len(data) > _LONGEST:
        raise BadInput("the certificate is too long", code="bad_certificate")
    return _read(data, pem=False)


def _read(data: bytes, *, pem: bool) -> Issued:
    try:
        found = x509.load_pem_x509_certificate(data) if pem else x509.load_der_x509_certificate(data)
        return Issued(f"{found.serial_number:x}", found.not_valid_after_utc)
    except _UNREADABLE as error:  # its text can quote what was read
        raise BadInput(f"not a certificate ({type(error).__name__})", code="bad_certificate") from None
