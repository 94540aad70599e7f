"""How connections are made, which certificates and proxies count there, and what is said when none comes about."""

from __future__ import annotations

import os
import ssl
from contextlib import suppress
from typing import TYPE_CHECKING

from doorward import environment as here
from doorward.errors import ConnectionFailed, InvalidInput, TLSError
from doorward.transport.problems import to_printable

if TYPE_CHECKING:
    import httpx2

    from doorward.origin import Origin

Verify = bool | str | os.PathLike[str] | ssl.SSLContext
CERTIFICATE_VARIABLES = ("SSL_CERT_FILE", "SSL_CERT_DIR")


def open_http_client(origin: Origin, verify: Verify, timeout: httpx2.Timeout) -> httpx2.Client:
    """A client for the origin. Raises InvalidInput for certificates or a proxy that cannot be used."""
    import httpx2

    made: httpx2.Client | None = None
    # None are read where nothing will be checked with them.
    trusted = (
        _load_ssl_context(verify)
        if origin.scheme == "https"
        else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    )
    with suppress(
        ImportError, ValueError, httpx2.InvalidURL
    ):  # its text has the address of the proxy, which may hold a password
        made = httpx2.Client(
            verify=trusted,
            timeout=timeout,
            follow_redirects=False,
            # What goes to this machine in clear text must not take a way through a proxy.
            trust_env=not origin.is_loopback,
        )
    if made is None:
        reason = "must be http:// or https:// (for SOCKS: pip install socksio)"
        raise InvalidInput(
            f"The proxy that HTTPS_PROXY or ALL_PROXY names {reason}.", errors={"proxy": [reason]}
        )
    return made


def describe_failure(origin: Origin, error: Exception) -> ConnectionFailed:
    """In our words: theirs may hold anything, and their frames hold the request."""
    import httpx2

    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLCertVerificationError):
            own = "if it is of an authority of your own, name its certificates in SSL_CERT_FILE"
            return TLSError(
                f"The certificate of {origin} is not good ({to_printable(cause.verify_message)}), so nothing was sent: {own}."
            )
        if isinstance(cause, ssl.SSLError):
            return TLSError(
                f"{origin} does not speak TLS as it should: check the address and what is in between."
            )
        cause = cause.__cause__ or cause.__context__
    if isinstance(error, httpx2.ProxyError):
        said = to_printable(str(error))
        return ConnectionFailed(
            f"The proxy that HTTPS_PROXY names does not lead to {origin} ({said}): change it, or name the host in NO_PROXY."
        )
    if isinstance(error, httpx2.ConnectTimeout | httpx2.ConnectError):
        between = (
            ", the network, and the proxy that HTTPS_PROXY names"
            if _uses_proxy(origin)
            else " and the network"
        )
        return ConnectionFailed(f"{origin} cannot be reached: check the address{between}.")
    if isinstance(error, httpx2.TimeoutException):
        return ConnectionFailed(f"{origin} did not answer in time: try again later.")
    return ConnectionFailed(f"The connection to {origin} broke: try again.")


def _load_ssl_context(verify: Verify) -> ssl.SSLContext:
    """What a certificate is checked with. The environment counts for this machine too, where proxies do not."""
    if isinstance(verify, ssl.SSLContext):
        return verify
    import httpx2

    with suppress(OSError):  # of TLS too
        return (
            httpx2.create_ssl_context(verify)
            if isinstance(verify, bool)
            else ssl.create_default_context(cafile=os.fspath(verify))
        )
    reason = "is no file of certificates in PEM that can be read"
    if not isinstance(verify, bool):
        raise InvalidInput(f"verify: {os.fspath(verify)} {reason}.", errors={"verify": [reason]})
    name = next(
        (name for name in CERTIFICATE_VARIABLES if here.get_variable(name)),
        CERTIFICATE_VARIABLES[0],
    )
    raise InvalidInput(f"{name}: {here.get_variable(name)} {reason}.", errors={name: [reason]})


def _uses_proxy(origin: Origin) -> bool:
    from urllib.request import getproxies, proxy_bypass  # as the library does

    return (
        not origin.is_loopback
        and not {origin.scheme, "all"}.isdisjoint(getproxies())
        and not proxy_bypass(origin.host)
    )
