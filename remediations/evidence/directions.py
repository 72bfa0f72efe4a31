"""Where a person looks first, by what an error says: the cluster's DNS, or a certificate. Asked where nothing nearer is known. Pure."""

from __future__ import annotations

import re
from typing import Final

_DNS: Final = re.compile(
    r"temporary failure in name resolution|\bEAI_AGAIN\b|server misbehaving|:53:? (?:read: )?(?:i/o timeout|connection refused)|"
    r"\bSERVFAIL\b|(?:name resolution|dns(?: lookup| query)?) timed? ?out|no servers could be reached",
    re.IGNORECASE,
)
"""Nobody answered. That a name does not exist is an answer, and a matter of the name."""
_CERTIFICATE: Final = re.compile(
    r"certificate (?:has )?(?:expired|verify failed|signed by unknown authority|is not (?:yet )?(?:valid|trusted))|\bCERT_(?:HAS_EXPIRED|NOT_YET_VALID)\b|"
    r"\bx509: |unable to (?:get local issuer|verify the first) certificate|self.signed certificate|PKIX path|"
    r"certificate subject name|\bERR_TLS_CERT_ALTNAME_INVALID\b",
    re.IGNORECASE,
)


def where_to_look(said: str) -> str:
    """Advice as one clause; empty where the words point to neither."""
    if _DNS.search(said):
        return "look at the cluster's DNS (its Service, usually kube-dns in kube-system, and the pods behind it), and whether a NetworkPolicy keeps the pods from it"
    if _CERTIFICATE.search(said):
        return "look at the certificate of whom the pods connect to: whether it has expired, names that host, and is signed by an authority that they trust"
    return ""
