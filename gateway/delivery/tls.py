"""TLS towards next hops: ``may`` opportunistic (RFC 7435), ``verify`` the certificate must be the host's (RFC 9525)."""

import ssl
from functools import cached_property


class TlsContexts:
    """The two client contexts, made when first needed: the system's store takes some 10 ms to load.

    ``authorities`` is a PEM file to trust instead of the system's store, "" for the system's.
    """

    def __init__(self, authorities: str = "") -> None:
        self._authorities = authorities

    def context(self, policy: str) -> ssl.SSLContext:
        """Return the context for ``may`` or ``verify``."""
        return self._verifying if policy == "verify" else self._opportunistic

    @cached_property
    def _verifying(self) -> ssl.SSLContext:
        context = ssl.create_default_context(cafile=self._authorities or None)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        return context

    @cached_property
    def _opportunistic(self) -> ssl.SSLContext:
        # RFC 7435 §4: without authentication encryption is still better than clear text, which would be the
        # alternative.
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        return context
