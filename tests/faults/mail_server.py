"""An SMTP server on loopback that accepts, rejects or stalls, and a certificate authority."""

from __future__ import annotations

import asyncio
import ipaddress
import ssl
import threading
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult, LoginPassword
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from tests.postgres import find_free_port

TAKEN = "250 taken"
USER, PASSWORD = b"post", b"p@ss:word/with?marks"


class ReceivedMail:
    """Received emails, and the responses to the next ones.

    `rcpt` and `data` are used in turn, then all are accepted.
    """

    def __init__(self) -> None:
        self.envelopes: list[tuple[str, str, EmailMessage, bool]] = []
        self.rcpt: list[str] = []
        self.data: list[str] = []
        self.silent = threading.Event()  # while set, DATA is not answered
        self.data_received = threading.Event()  # a client waits for the response to such a DATA

    async def handle_RCPT(self, server, session, envelope, address, options):  # noqa: N802 - aiosmtpd's name
        answer = self.rcpt.pop(0) if self.rcpt else TAKEN
        if answer.startswith("2"):
            envelope.rcpt_tos.append(address)
        return answer

    async def handle_DATA(self, server, session, envelope):  # noqa: N802 - aiosmtpd's name
        if self.silent.is_set():
            self.data_received.set()
            while self.silent.is_set():  # noqa: ASYNC110 - it is set in another thread
                await asyncio.sleep(0.02)
            return "451 too late"
        answer = self.data.pop(0) if self.data else TAKEN
        if answer.startswith("2"):
            message = message_from_bytes(envelope.content, policy=policy.default)
            encrypted = session.ssl is not None
            self.envelopes.append((envelope.mail_from, envelope.rcpt_tos[0], message, encrypted))
        return answer

    @property
    def messages(self) -> list[EmailMessage]:
        return [message for _, _, message, _ in self.envelopes]

    def list_to(self, address: str) -> list[EmailMessage]:
        return [message for _, to, message, _ in self.envelopes if to == address]

    def await_number(self, number: int, *, seconds: float = 30) -> list[EmailMessage]:
        """Return the emails once there are that many."""
        end = time.monotonic() + seconds
        while len(self.envelopes) < number and time.monotonic() < end:
            time.sleep(0.02)
        return self.messages


class _Controller(Controller):
    def factory(self):
        return SMTP(self.handler, hostname="mail.test", **self.SMTP_kwargs)


class MailServer:
    """A server on its own port, which it keeps across restarts."""

    def __init__(self, *, implicit_tls: ssl.SSLContext | None = None, **smtp) -> None:
        self.inbox = ReceivedMail()
        self.port = find_free_port()
        self._options = {
            "hostname": "127.0.0.1",
            "port": self.port,
            "ssl_context": implicit_tls,
            **smtp,
        }
        self._controller: Controller | None = None

    def start(self) -> None:
        self._controller = _Controller(self.inbox, **self._options)
        self._controller.start()

    def stop(self) -> None:
        controller, self._controller = self._controller, None
        if controller is not None:
            controller.stop()

    def url(self, scheme: str = "smtp", login: str = "") -> str:
        return f"{scheme}://{login}127.0.0.1:{self.port}"


def authenticate(server, session, envelope, mechanism, data) -> AuthResult:
    fits = isinstance(data, LoginPassword) and (data.login, data.password) == (USER, PASSWORD)
    return AuthResult(success=fits, handled=False)


@dataclass(frozen=True)
class Authority:
    """A certificate authority that no one trusts by default, with a certificate for 127.0.0.1."""

    ca_file: Path
    server: ssl.SSLContext


def create_authority(folder: Path) -> Authority:
    ca_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    ca_name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "Doorward test CA")])
    ca = (
        _certificate(ca_name, ca_name, ca_key.public_key())
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs_certificates=True), critical=True)
        .add_extension(
            x509.SubjectKeyIdentifier.from_public_key(ca_key.public_key()), critical=False
        )
        .sign(ca_key, hashes.SHA256())
    )
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "mail.test")])
    certificate = (
        _certificate(name, ca_name, key.public_key())
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(signs_certificates=False), critical=True)
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]),
            critical=False,
        )
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key()), critical=False
        )
        .sign(ca_key, hashes.SHA256())
    )
    (folder / "ca.pem").write_bytes(ca.public_bytes(Encoding.PEM))
    pem = key.private_bytes(
        Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()
    ) + certificate.public_bytes(Encoding.PEM)
    (folder / "server.pem").write_bytes(pem)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "server.pem")
    return Authority(folder / "ca.pem", context)


def _certificate(
    subject: x509.Name, issuer: x509.Name, public_key: ec.EllipticCurvePublicKey
) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    builder = (
        x509.CertificateBuilder().subject_name(subject).issuer_name(issuer).public_key(public_key)
    )
    return (
        builder.serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=1))
    )


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )
