"""Send email by SMTP and tell temporary failures from permanent ones."""

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
    """The server did not accept the message.

    The text gives the reason without the email address.

    `is_permanent` means that a retry is useless, `is_server_unavailable` that no message can be
    sent now.
    """

    def __init__(
        self, fault: str, *, is_permanent: bool = False, is_server_unavailable: bool = False
    ) -> None:
        super().__init__(fault)
        self.is_permanent = is_permanent
        self.is_server_unavailable = is_server_unavailable


class Mailer:
    """An SMTP connection, opened for the first message and reused for the next.

    Not thread-safe.
    """

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
        """Send a message; return once the server has accepted it. Raises DeliveryError."""
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
            # The operator must fix the server or the login; the message stays queued.
            raise DeliveryError(
                f"{type(error).__name__} {getattr(error, 'smtp_code', '')}".strip(),
                is_server_unavailable=True,
            ) from None
        if refused:
            raise DeliveryError("recipient refused", is_permanent=True)

    def check_connection(self) -> bool:
        """Connect and log in, and return whether the connection is encrypted.

        Raises DeliveryError.
        """
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
                "the server does not offer TLS, which the login requires",
                is_server_unavailable=True,
            )

    def _close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(OSError, smtplib.SMTPException):
                connection.quit()
            connection.close()
