"""Opens HTTP clients with the right certificates and proxy, and describes failed connections."""

from __future__ import annotations

import os
import ssl
from contextlib import suppress
from typing import TYPE_CHECKING

from doorward import environment
from doorward.errors import ConnectionFailed, InvalidInput, TLSError
from doorward.printable import to_printable

if TYPE_CHECKING:
    import httpx2

    from doorward.origin import Origin

Verify = bool | str | os.PathLike[str] | ssl.SSLContext
CERTIFICATE_VARIABLES = ("SSL_CERT_FILE", "SSL_CERT_DIR")


def open_http_client(origin: Origin, verify: Verify, timeout: httpx2.Timeout) -> httpx2.Client:
    """Open a client for the origin. Raises InvalidInput for unusable certificates or proxies."""
    import httpx2

    client: httpx2.Client | None = None
    # Plain HTTP verifies nothing, so no certificates are loaded.
    context = (
        _load_ssl_context(verify)
        if origin.scheme == "https"
        else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    )
    # The suppressed error is not chained: its text has the proxy URL, which may hold a password.
    with suppress(ImportError, ValueError, httpx2.InvalidURL):
        client = httpx2.Client(
            verify=context,
            timeout=timeout,
            follow_redirects=False,
            # Plain HTTP to this machine must not pass through a proxy.
            trust_env=not origin.is_loopback,
        )
    if client is None:
        reason = "must be an http:// or https:// URL (for SOCKS, run: pip install socksio)"
        raise InvalidInput(
            f"The proxy in HTTPS_PROXY or ALL_PROXY {reason}.", errors={"proxy": [reason]}
        )
    return client


def describe_failure(origin: Origin, error: Exception) -> ConnectionFailed:
    """Build our own error for a failed request.

    The original error is not chained, because its frames hold the request with its secrets.
    """
    import httpx2

    if (tls_error := _describe_tls_failure(origin, error)) is not None:
        return tls_error
    if isinstance(error, httpx2.ProxyError):
        reason = to_printable(str(error))
        return ConnectionFailed(
            f"The proxy in HTTPS_PROXY cannot connect to {origin} ({reason})."
            " Change it, or add the host to NO_PROXY."
        )
    if isinstance(error, httpx2.ConnectTimeout | httpx2.ConnectError):
        proxy = ", the network and the proxy in HTTPS_PROXY"
        causes = proxy if _uses_proxy(origin) else " and the network"
        return ConnectionFailed(f"Cannot connect to {origin}. Check the URL{causes}.")
    if isinstance(error, httpx2.TimeoutException):
        return ConnectionFailed(f"{origin} did not respond in time. Try again later.")
    return ConnectionFailed(f"The connection to {origin} was interrupted. Try again.")


def _describe_tls_failure(origin: Origin, error: Exception) -> TLSError | None:
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLCertVerificationError):
            reason = to_printable(cause.verify_message)
            return TLSError(
                f"The certificate of {origin} is not valid ({reason}). Nothing was sent."
                " For a private certificate authority, set SSL_CERT_FILE to its certificates."
            )
        if isinstance(cause, ssl.SSLError):
            return TLSError(
                f"The TLS handshake with {origin} failed. Check the URL and any proxy in between."
            )
        cause = cause.__cause__ or cause.__context__
    return None


def _load_ssl_context(verify: Verify) -> ssl.SSLContext:
    """Load the certificates to verify with: the given ones, else the environment or the system."""
    if isinstance(verify, ssl.SSLContext):
        return verify
    import httpx2

    with suppress(OSError):  # includes ssl.SSLError
        return (
            httpx2.create_ssl_context(verify)
            if isinstance(verify, bool)
            else ssl.create_default_context(cafile=os.fspath(verify))
        )
    reason = "is not a readable PEM file of certificates"
    if not isinstance(verify, bool):
        raise InvalidInput(f"verify: {os.fspath(verify)} {reason}.", errors={"verify": [reason]})
    name = next(
        (name for name in CERTIFICATE_VARIABLES if environment.get_variable(name)),
        CERTIFICATE_VARIABLES[0],
    )
    value = environment.get_variable(name)
    raise InvalidInput(f"{name}: {value} {reason}.", errors={name: [reason]})


def _uses_proxy(origin: Origin) -> bool:
    """Return whether requests go through a proxy, by the rules that httpx2 follows."""
    from urllib.request import getproxies, proxy_bypass

    return (
        not origin.is_loopback
        and not {origin.scheme, "all"}.isdisjoint(getproxies())
        and not proxy_bypass(origin.host)
    )
