"""One TLS handshake with a Service's cluster IP, for the certificate that it serves.

Used by `app.observe.http_check`. Sends nothing but the handshake, judges no trust, shows no certificate of ours. Never writes.
"""

from __future__ import annotations

import asyncio
import ssl
from contextlib import suppress

from app.domain.certificate import Issued, of_der
from app.domain.errors import BadInput
from app.domain.http_check import HttpAddress, ServedCertificate


async def served(address: HttpAddress, name: str, timeout: float) -> ServedCertificate:  # noqa: ASYNC109 - of the whole look
    """What the port of this Service shows to somebody who asks for `name`. Raises nothing."""
    try:
        async with asyncio.timeout(timeout):
            return ServedCertificate(await _handshake(address, name))
    except TimeoutError:
        return ServedCertificate(None, f"no handshake within {timeout:g} s")
    except ssl.SSLError:
        return ServedCertificate(None, "no TLS")
    except OSError:
        return ServedCertificate(None, "no connection")
    except (BadInput, ValueError):  # a name that is none, too
        return ServedCertificate(None, "no usable certificate")


async def _handshake(address: HttpAddress, name: str) -> Issued:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE  # whose certificate it is is compared by its serial number
    _, writer = await asyncio.open_connection(address.ip, address.port, ssl=context, server_hostname=name)
    try:
        found = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
        return of_der(found or b"")
    finally:
        writer.transport.abort()
        with suppress(OSError):
            await writer.wait_closed()
