"""Settings of passwords, tokens, signing keys and rate limits."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta

from app.settings import parsers
from app.settings.choices import SigningAlgorithm
from app.settings.metadata import DAY, describe, describe_limit


@dataclass(frozen=True, kw_only=True)
class SecurityFields:
    """Fields of `Settings` about passwords, tokens, signing keys and rate limits."""

    password_min_length: int = field(
        default=15,
        metadata=describe(
            "Minimum length of a password in characters.", parsers.build_number_parser(8, 64)
        ),
    )
    argon2_memory_kib: int = field(
        default=19456,
        metadata=describe(
            "Memory of one Argon2id hash in KiB.", parsers.build_number_parser(8, 1048576)
        ),
    )
    argon2_time_cost: int = field(
        default=2,
        metadata=describe("Passes of one Argon2id hash.", parsers.build_number_parser(1, 20)),
    )
    access_token_ttl: timedelta = field(
        default=timedelta(seconds=300),
        metadata=describe(
            "Lifetime of an access token in seconds, at most 900.",
            parsers.build_seconds_parser(30, 900),
        ),
    )
    session_max_ttl: timedelta = field(
        default=timedelta(days=30),
        metadata=describe(
            "Maximum lifetime of a session in seconds, at most 365 days.",
            parsers.build_seconds_parser(3600, 365 * DAY),
        ),
    )
    jwks_max_age: timedelta = field(
        default=timedelta(seconds=300),
        metadata=describe(
            "Seconds for which verifiers may cache the public keys.",
            parsers.build_seconds_parser(1, DAY),
        ),
    )
    signing_algorithm: SigningAlgorithm = field(
        default=SigningAlgorithm.ES256,
        metadata=describe(
            "Algorithm of new signing keys: ES256 or EdDSA.",
            parsers.build_choice_parser(SigningAlgorithm),
        ),
    )
    key_rotation: timedelta = field(
        default=timedelta(days=30),
        metadata=describe(
            "Seconds for which a signing key signs before the next one replaces it.",
            parsers.build_seconds_parser(10, 366 * DAY),
        ),
    )
    replicas: int = field(
        default=1,
        metadata=describe(
            "Number of replicas of this service. Limits that are counted locally are divided by "
            "it.",
            parsers.build_number_parser(1, 1000),
        ),
    )
    limit_login: str = field(
        default="20/minute;300/hour",
        metadata=describe_limit("Logins from one source (an IPv4 address or an IPv6 /64)."),
    )
    limit_register: str = field(
        default="10/hour", metadata=describe_limit("Registrations from one source.")
    )
    limit_resend: str = field(
        default="10/hour",
        metadata=describe_limit("Requests to resend the confirmation email, from one source."),
    )
    limit_confirm: str = field(
        default="30/minute", metadata=describe_limit("Confirmations by link from one source.")
    )
    limit_code: str = field(
        default="5/minute", metadata=describe_limit("Confirmations by code from one source.")
    )
    limit_forgot: str = field(
        default="10/hour",
        metadata=describe_limit("Requests for a password reset email, from one source."),
    )
    limit_key: str = field(
        default="600/minute",
        metadata=describe_limit(
            "Uses of one API key. Requests with a token that it was exchanged for do not count."
        ),
    )
    limit_device: str = field(
        default="20/minute;200/hour", metadata=describe_limit("Device logins from one source.")
    )
    limit_poll: str = field(
        default="300/minute",
        metadata=describe_limit("Polls of device logins from one source."),
    )
    limit_refresh: str = field(
        default="60/minute", metadata=describe_limit("Token refreshes from one source.")
    )
