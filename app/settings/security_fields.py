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
        metadata=describe_limit(
            "Logins from one source (an IPv4 address or an IPv6 /64): POST /v1/login, POST "
            "/login. Failed client authentication is counted separately, with the same limit: "
            "POST /oauth/token, POST /oauth/introspect, POST /oauth/revoke."
        ),
    )
    limit_register: str = field(
        default="10/hour",
        metadata=describe_limit("Registrations from one source: POST /v1/register."),
    )
    limit_resend: str = field(
        default="10/hour",
        metadata=describe_limit(
            "Requests to send the confirmation email again, from one source: POST "
            "/v1/register/resend."
        ),
    )
    limit_confirm: str = field(
        default="30/minute",
        metadata=describe_limit(
            "Uses of emailed links and codes, and leak reports, from one source: POST "
            "/v1/register/confirm, POST /confirm/{token}, POST /v1/password/reset, POST "
            "/reset/{token}, POST /login/new-password (the password change required at login), "
            "POST /v1/api-keys/report-leak."
        ),
    )
    limit_code: str = field(
        default="5/minute",
        metadata=describe_limit(
            "Confirmations with a code from one source, in addition to LIMIT_CONFIRM: POST "
            "/v1/register/confirm."
        ),
    )
    limit_forgot: str = field(
        default="10/hour",
        metadata=describe_limit(
            "Requests for a password reset link, from one source: POST /v1/password/forgot, POST "
            "/login/forgot."
        ),
    )
    limit_key: str = field(
        default="600/minute",
        metadata=describe_limit(
            "Requests with one API key. Requests with an access token issued for the key are not "
            "counted."
        ),
    )
    limit_device: str = field(
        default="20/minute;200/hour",
        metadata=describe_limit(
            "Device logins started from one source: POST /v1/login-sessions, POST "
            "/oauth/device_authorization."
        ),
    )
    limit_poll: str = field(
        default="300/minute",
        metadata=describe_limit(
            "Polls and cancellations of device logins from one source: POST /oauth/token with a "
            "device code, POST /v1/login-sessions/cancel."
        ),
    )
    limit_refresh: str = field(
        default="60/minute",
        metadata=describe_limit(
            "Uses of refresh tokens from one source: POST /v1/token/refresh, POST /oauth/token "
            "with a refresh token, POST /v1/logout and POST /v1/logout-all without a valid access "
            "token. Revocations of any token count here too: POST /oauth/revoke."
        ),
    )
