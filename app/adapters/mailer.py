"""SMTP: hands over one message at a time and tells a passing fault from a final one."""

from __future__ import annotations

import smtplib
import ssl
from contextlib import suppress
from email.message import EmailMessage
from types import TracebackType
from typing import Self
from urllib.parse import unquote, urlsplit

TIMEOUT_SECONDS = 10  # seconds for each step
PERMANENT_CODES = range(500, 600)
DEFAULT_PORTS = {"smtp": 25, "smtp+starttls": 587, "smtps": 465}


class DeliveryError(Exception):
    """The server did not take the message. The text names the fault and no address.

    `final`: it never will. `away`: it was not about this message, the server cannot be talked to at all.
    """

    def __init__(
        self, fault: str, *, is_permanent: bool = False, is_server_unavailable: bool = False
    ) -> None:
        super().__init__(fault)
        self.is_permanent = is_permanent
        self.is_server_unavailable = is_server_unavailable


class Mailer:
    """One SMTP connection, opened at the first message and kept while there is more. Use it in one thread."""

    def __init__(self, url: str) -> None:
        self._parts = urlsplit(url)
        self._connection: smtplib.SMTP | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._close()

    def send(self, message: EmailMessage) -> None:
        """Returns once the server has taken the message. Raises NotDelivered."""
        try:
            refused = self._get_connection().send_message(message)
        except smtplib.SMTPRecipientsRefused as error:
            code = max(code for code, _ in error.recipients.values())
            self._close()
            raise DeliveryError(
                f"recipient refused with {code}", is_permanent=code in PERMANENT_CODES
            ) from None
        except smtplib.SMTPDataError as error:
            self._close()
            raise DeliveryError(
                f"message refused with {error.smtp_code}",
                is_permanent=error.smtp_code in PERMANENT_CODES,
            ) from None
        except (OSError, smtplib.SMTPException, ssl.SSLError) as error:
            self._close()
            # A server that is away or does not let us in is the operator's to mend; the message waits.
            raise DeliveryError(
                f"{type(error).__name__} {getattr(error, 'smtp_code', '')}".strip(),
                is_server_unavailable=True,
            ) from None
        if refused:
            raise DeliveryError("recipient refused", is_permanent=True)

    def check_connection(self) -> bool:
        """Connect and log in as for a message, and send none. Is the connection encrypted? Raises NotDelivered."""
        try:
            connection = self._get_connection()
        except (OSError, smtplib.SMTPException) as error:
            self._close()
            raise DeliveryError(
                f"{type(error).__name__} {getattr(error, 'smtp_code', '')}".strip(),
                is_server_unavailable=True,
            ) from None
        return isinstance(connection.sock, ssl.SSLSocket)

    def _get_connection(self) -> smtplib.SMTP:
        if self._connection is None:
            parts, tls = self._parts, ssl.create_default_context()
            host, port = parts.hostname or "", parts.port or DEFAULT_PORTS[parts.scheme]
            if parts.scheme == "smtps":
                self._connection = smtplib.SMTP_SSL(
                    host, port, timeout=TIMEOUT_SECONDS, context=tls
                )
            else:
                self._connection = smtplib.SMTP(host, port, timeout=TIMEOUT_SECONDS)
                self._encrypt(self._connection, tls)
            if parts.username:
                self._connection.login(unquote(parts.username), unquote(parts.password or ""))
        return self._connection

    def _encrypt(self, connection: smtplib.SMTP, tls: ssl.SSLContext) -> None:
        connection.ehlo()
        if self._parts.scheme == "smtp+starttls" or connection.has_extn("starttls"):
            connection.starttls(context=tls)
            connection.ehlo()
        elif self._parts.username:
            self._close()
            raise DeliveryError(
                "the server offers no TLS, and without it no password is sent",
                is_server_unavailable=True,
            )

    def _close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(OSError, smtplib.SMTPException):
                connection.quit()
            connection.close()
