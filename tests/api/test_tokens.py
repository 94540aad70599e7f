"""Access tokens.

Only those signed by the service, in their exact encoding and with every claim valid.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from datetime import timedelta

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from app.adapters.jwt import P256_ORDER
from app.settings import SigningAlgorithm

JWKS = "/.well-known/jwks.json"

WRONG_CLAIMS = [
    {"iss": "http://127.0.0.1:8080/"},
    {"iss": "https://127.0.0.1:8080"},
    {"aud": "http://127.0.0.1:8081"},
    {"aud": ["http://127.0.0.1:8080"]},
    {"aud": ["http://127.0.0.1:8080", "other"]},
    {"aud": ""},
    {"exp": "9999999999"},
    {"exp": 9999999999.5},
    {"exp": 10**30},
    {"exp": 10**15},
    {"exp": -1},
    {"exp": 0},
    {"exp": True},
    {"iat": "0"},
    {"iat": 10**12},
    {"nbf": 10**11},
    {"nbf": "x"},
    {"nbf": []},
    {"ep": 0},
    {"ep": 2},
    {"ep": "1"},
    {"ep": True},
    {"ep": 10**30},
    {"auth_time": "now"},
    {"sub": "acc_" + "0" * 22},
    {"sub": ""},
    {"sub": ["acc"]},
    {"sid": "ses_" + "0" * 22},
    {"sid": "ses_\u0000"},
    {"sid": "' OR '1'='1"},
    {"sid": {}},
    {"jti": 1},
]

WRONG_HEADERS = [
    {"typ": "JWT"},
    {"typ": "jwt"},
    {"typ": "AT+JWT"},
    {"typ": "application/at+jwt"},
    {"typ": "identity+jwt"},
    {"typ": ...},
    {"typ": None},
    {"alg": "none"},
    {"alg": "None"},
    {"alg": "HS256"},
    {"alg": "es256"},
    {"alg": "ES384"},
    {"alg": "EdDSA"},
    {"alg": "RS256"},
    {"alg": ""},
    {"alg": None},
    {"alg": ["ES256"]},
    {"kid": ...},
    {"kid": None},
    {"kid": ""},
    {"kid": "short"},
    {"kid": "x" * 65},
    {"kid": "unknown-but-well-shaped"},
    {"kid": "../../../../dev/null"},
    {"kid": "a' OR '1'='1"},
    {"kid": "http://127.0.0.1/key"},
    {"kid": ["a"]},
    {"kid": {"a": 1}},
    {"kid": 1},
    {"crit": []},
    {"crit": ["exp"]},
    {"crit": ["b64"], "b64": False},
    {"b64": True},
    {"jku": "http://127.0.0.1:1/jwks.json"},
    {"x5u": "http://127.0.0.1:1/cert"},
    {"x5c": ["MIIB"]},
    {"jwk": {"kty": "EC"}},
    {"cty": "JWT"},
    {"zip": "DEF"},
    {"extra": 1},
]


@pytest.fixture
def ann(sqlite_service):
    return sqlite_service.actor().sign_in()


def encode_base64(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def decode_base64(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def decode_token(token: str) -> tuple[dict, dict]:
    header, claims, _ = token.split(".")
    return json.loads(decode_base64(header)), json.loads(decode_base64(claims))


def sign(ann, header: dict, claims: bytes) -> str:
    """Sign any claims with the key of the service."""
    key = next(iter(ann.service.units.signing_keys._snapshot.keys.values()))
    words = {
        name: value
        for name, value in {"alg": "ES256", "typ": "at+jwt", "kid": key.kid, **header}.items()
        if value is not ...
    }
    message = f"{encode_base64(json.dumps(words).encode())}.{encode_base64(claims)}"
    algorithm = jwt.algorithms.ECAlgorithm(jwt.algorithms.ECAlgorithm.SHA256)
    while True:  # until s is low, so that the signature is canonical
        signature = algorithm.sign(message.encode(), key.private)
        if int.from_bytes(signature[32:]) <= P256_ORDER // 2:
            return f"{message}.{encode_base64(signature)}"


def sign_claims(ann, *, header: dict | None = None, **changes) -> str:
    """Sign a token with changed claims or header. `...` omits one."""
    _, claims = decode_token(ann.access)
    claims = {name: value for name, value in {**claims, **changes}.items() if value is not ...}
    return sign(ann, header or {}, json.dumps(claims).encode())


def is_refused(ann, token: str) -> bool:
    answer = ann.whoami(token)
    if answer.status_code != 401:
        return False
    assert answer.json["code"] == "unauthenticated"
    assert answer.headers["WWW-Authenticate"] == 'Bearer realm="doorward", error="invalid_token"'
    return True


def test_a_token_has_the_claims_of_rfc_9068(ann):
    header, claims = decode_token(ann.access)
    assert set(header) == {"alg", "kid", "typ"}
    assert (header["alg"], header["typ"]) == ("ES256", "at+jwt")
    assert set(claims) == {
        "iss", "sub", "aud", "exp", "iat", "jti", "client_id", "sid", "ep", "rv", "scope", "roles", "auth_time", "amr", "preferred_username",
    }  # fmt: skip
    assert claims["iss"] == claims["aud"] == "http://127.0.0.1:8080"
    assert claims["exp"] - claims["iat"] == 300
    assert claims["sid"] == ann.tokens["session_id"]
    assert claims["sub"] == ann.tokens["account"]["id"]
    assert claims["amr"] == ["pwd"]
    assert claims["preferred_username"] == "ann"
    assert len(ann.access) < 4096


def test_tokens_signed_by_the_service_pass(ann):
    """The other tests change this token."""
    assert ann.whoami(sign_claims(ann)).status_code == 200
    assert ann.whoami(sign_claims(ann, header={})).status_code == 200


def test_token_without_a_required_claim_is_refused(ann):
    for name in ("iss", "aud", "sub", "sid", "exp", "iat", "jti", "ep", "client_id"):
        for nothing in (..., None):
            assert is_refused(ann, sign_claims(ann, **{name: nothing})), name
    assert is_refused(ann, sign_claims(ann, auth_time=None))
    untyped = sign_claims(ann, auth_time=...)
    assert ann.whoami(untyped).status_code == 200, "a session can begin without a password"
    key = ann.post("/v1/api-keys", {"name": "ci", "scopes": []}, token=untyped)
    assert key.json["code"] == "reauthentication_required"


def test_token_with_an_invalid_claim_is_refused(ann):
    for change in WRONG_CLAIMS:
        assert is_refused(ann, sign_claims(ann, **change)), change


def test_token_is_bound_to_its_account_and_session(ann):
    bob = ann.service.actor("bob").sign_in()
    _, claims = decode_token(bob.access)
    assert is_refused(ann, sign_claims(ann, sub=claims["sub"]))
    assert is_refused(ann, sign_claims(ann, sid=claims["sid"]))
    assert (
        ann.whoami(sign_claims(ann, sub=claims["sub"], sid=claims["sid"])).json["username"] == "bob"
    )


def test_token_expires_after_5_minutes_and_30_seconds_of_leeway(ann):
    for seconds, status in ((300, 200), (22, 200), (9, 401), (86400, 401)):
        ann.service.clock.push(seconds=seconds)
        assert ann.whoami().status_code == status


def test_token_issued_in_the_future_is_refused(ann):
    _, claims = decode_token(ann.access)
    for ahead, status in ((25, 200), (60, 401)):
        assert (
            ann.whoami(
                sign_claims(ann, iat=claims["iat"] + ahead, exp=claims["exp"] + ahead)
            ).status_code
            == status
        )


def test_token_with_another_header_is_refused_even_if_signed_by_us(ann):
    for header in WRONG_HEADERS:
        assert is_refused(ann, sign_claims(ann, header=header)), header


def test_key_embedded_in_a_token_is_not_used(ann):
    private = ec.generate_private_key(ec.SECP256R1())
    header, claims = decode_token(ann.access)
    public = json.loads(jwt.algorithms.ECAlgorithm.to_jwk(private.public_key()))
    for more in (
        {},
        {"jwk": public},
        {"kid": "somebody-elses-key"},
        {"jwk": {**public, "kid": header["kid"]}},
    ):
        assert is_refused(ann, jwt.encode(claims, private, "ES256", headers={**header, **more}))


def test_a_token_without_a_signature_is_refused(ann):
    header, claims = decode_token(ann.access)
    first, second, third = ann.access.split(".")
    for alg in ("none", "None", "NONE", "ES256"):
        unsigned = encode_base64(json.dumps({**header, "alg": alg}).encode())
        for token in (
            f"{unsigned}.{second}.",
            f"{unsigned}.{second}",
            f"{unsigned}.{second}.{third}",
            f"{unsigned}.{second}.{encode_base64(bytes(64))}",
        ):
            assert is_refused(ann, token)
    assert is_refused(
        ann, jwt.encode(claims, None, "none", headers={"typ": "at+jwt", "kid": header["kid"]})
    )
    assert is_refused(ann, f"{first}.{second}.{encode_base64(bytes(64))}")
    assert is_refused(ann, f"{first}.{second}.{encode_base64(P256_ORDER.to_bytes(32) * 2)}")
    assert is_refused(ann, f"{first}.{second}.{encode_base64(decode_base64(third)[:-1])}")
    assert is_refused(ann, f"{first}.{second}.{encode_base64(decode_base64(third) + bytes(1))}")


def test_public_key_is_not_accepted_as_an_hmac_secret(ann):
    """The oldest attack: HS256 with the public key as secret."""
    header, claims = decode_token(ann.access)
    public = next(iter(ann.service.units.signing_keys._snapshot.keys.values())).private.public_key()
    jwk = json.dumps(ann.get(JWKS).json["keys"][0]).encode()
    for secret in (
        jwk,
        public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo),
        public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo),
        public.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint),
        b"",
    ):
        for alg in ("HS256", "ES256"):
            message = f"{encode_base64(json.dumps({**header, 'alg': alg}).encode())}.{encode_base64(json.dumps(claims).encode())}"
            assert is_refused(
                ann,
                f"{message}.{encode_base64(hmac.new(secret, message.encode(), hashlib.sha256).digest())}",
            )


def test_other_algorithms_are_refused(ann):
    header, claims = decode_token(ann.access)
    words = {"typ": "at+jwt", "kid": header["kid"]}
    assert is_refused(
        ann, jwt.encode(claims, rsa.generate_private_key(65537, 2048), "RS256", headers=words)
    )
    assert is_refused(
        ann, jwt.encode(claims, ed25519.Ed25519PrivateKey.generate(), "EdDSA", headers=words)
    )
    assert is_refused(
        ann, jwt.encode(claims, ec.generate_private_key(ec.SECP384R1()), "ES384", headers=words)
    )
    assert is_refused(ann, jwt.encode(claims, "x" * 64, "HS512", headers=words))


def test_an_altered_body_with_a_known_jti_is_refused(ann):
    first, second, third = ann.access.split(".")
    assert ann.whoami().status_code == 200
    _, claims = decode_token(ann.access)
    for change in (
        {"preferred_username": "root"},
        {"roles": ["admin"]},
        {"exp": claims["exp"] + 1},
        {"sub": "acc_" + "0" * 22},
        {},
    ):
        other = encode_base64(json.dumps({**claims, **change}).encode())
        assert other != second
        assert is_refused(ann, f"{first}.{other}.{third}")
    assert ann.whoami().status_code == 200


def build_alternative_encodings(token: str) -> list[str]:
    """Return alternative encodings of the token."""
    first, second, third = token.split(".")
    raw = decode_base64(third)
    mirrored = raw[:32] + (P256_ORDER - int.from_bytes(raw[32:])).to_bytes(32)
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    loose = [
        f"{first}.{second}.{third[:-1]}{alphabet[alphabet.index(third[-1]) ^ bit]}"
        for bit in range(1, 16)
    ]
    return [
        f"{first}.{second}.{encode_base64(mirrored)}",
        f"{token}=",
        f"{token}==",
        f"{first}=.{second}.{third}",
        f"{first}==.{second}==.{third}==",
        f"{first}.{second}.{third}.",
        f".{token}",
        f"{token}\t",
        f"{token}\u00a0",
        f"{first}.{second}.{third[:10]}\u00ad{third[10:]}",
        *loose,
    ]


def test_alternative_encoding_of_a_token_is_refused(ann):
    for token in build_alternative_encodings(ann.access):
        assert is_refused(ann, token), token[-20:]
    assert ann.whoami().status_code == 200
    ann.logout()
    for token in [ann.access, *build_alternative_encodings(ann.access)]:
        assert is_refused(ann, token), token[-20:]


def test_standard_base64_is_refused(ann):
    for _ in range(40):
        other = ann.access.replace("-", "+").replace("_", "/")
        if other != ann.access:
            break
        ann.login()
    assert is_refused(ann, other)


def test_every_token_we_sign_has_the_low_s(ann):
    for _ in range(12):
        third = ann.refresh().json["access_token"].rpartition(".")[2]
        assert int.from_bytes(decode_base64(third)[32:]) <= P256_ORDER // 2


def test_a_token_has_at_most_4096_bytes(ann):
    at_most = sign_claims(ann, padding="")
    room = (4096 - len(at_most)) * 3 // 4
    fits = sign_claims(ann, padding="x" * (room - 3))
    assert 4090 <= len(fits) <= 4096
    assert ann.whoami(fits).status_code == 200
    beyond = sign_claims(ann, padding="x" * (room + 3))
    assert 4097 <= len(beyond) <= 4104
    assert is_refused(ann, beyond)


def test_junk_is_refused(ann):
    for token in [
        "x",
        ".",
        "..",
        "...",
        "a.b.c",
        "a.b.c.d",
        "e30.e30.e30",
        "é.é.é",
        "%00",
        "null",
        "[]",
        "W10.W10.W10",
        "MQ.MQ.MQ",
        "bnVsbA.bnVsbA.bnVsbA",
        "A" * 5000,
    ]:
        assert is_refused(ann, token), token


def test_malformed_token_headers_are_refused(ann):
    _, second, third = ann.access.split(".")
    for raw in (
        b"[" * 2000,
        b'{"a":' * 500,
        b"\xff",
        b"",
        b"1",
        b'"ES256"',
        b"null",
        b'{"alg":"ES256","kid":NaN,"typ":"at+jwt"}',
    ):
        assert is_refused(ann, f"{encode_base64(raw)}.{second}.{third}")


def test_claims_that_are_not_an_object_are_refused_even_if_signed_by_us(ann):
    for claims in [b"[]", b"1", b"null", b'"x"', b"", b"{", b"\xff", b"[" * 1500]:
        assert is_refused(ann, sign(ann, {}, claims)), claims


def test_authorization_header_holds_exactly_one_bearer_token(ann):
    for value in [
        "",
        "Bearer",
        "Bearer ",
        "{token}",
        "Basic {token}",
        "Token {token}",
        "Bearer{token}",
        "Bearer\t{token}",
        "Bearer {token} ",
        "Bearer {token} {token}",
        "Bearer {token},Bearer {token}",
        "Bearer {token}, Basic eDp5",
        "Basic eDp5, Bearer {token}",
        'Bearer "{token}"',
        "Bearer token={token}",
    ]:
        answer = ann.get("/v1/whoami", headers={"Authorization": value.format(token=ann.access)})
        assert answer.status_code == 401, value
        assert answer.headers["WWW-Authenticate"].startswith("Bearer")


def test_bearer_scheme_is_case_insensitive(ann):
    for scheme in ("Bearer", "bearer", "BEARER", "Bearer  "):
        assert (
            ann.get("/v1/whoami", headers={"Authorization": f"{scheme} {ann.access}"}).status_code
            == 200
        )


def test_the_published_keys_are_public_and_cacheable(ann):
    answer = ann.get(JWKS)
    assert answer.status_code == 200
    assert answer.content_type == "application/json"
    assert answer.headers["Cache-Control"] == "public, max-age=300"
    (key,) = answer.json["keys"]
    assert set(key) == {"kty", "crv", "x", "y", "kid", "use", "alg"}
    assert (key["kty"], key["crv"], key["use"], key["alg"]) == ("EC", "P-256", "sig", "ES256")
    assert key["kid"] == decode_token(ann.access)[0]["kid"]

    etag = answer.headers["ETag"]
    again = ann.get(JWKS, headers={"If-None-Match": etag})
    assert (again.status_code, again.data) == (304, b"")
    assert again.headers["ETag"] == etag
    assert again.headers["Cache-Control"] == "public, max-age=300"
    assert ann.get(JWKS, headers={"If-None-Match": '"other"'}).status_code == 200
    assert ann.call("HEAD", JWKS).headers["ETag"] == etag


def test_pyjwt_verifies_a_token_with_the_published_keys(ann):
    keys = jwt.PyJWKSet.from_dict(ann.get(JWKS).json)
    claims = jwt.decode(
        ann.access,
        keys[decode_token(ann.access)[0]["kid"]],
        algorithms=["ES256"],
        audience="http://127.0.0.1:8080",
        issuer="http://127.0.0.1:8080",
        leeway=5,
        options={"require": ["exp", "iat", "sub", "jti", "client_id"]},
    )
    assert claims["sub"] == ann.tokens["account"]["id"]


def test_jwks_cache_lifetime_is_a_setting(make_service):
    service = make_service(jwks_max_age=timedelta(seconds=60))
    assert service.actor().get(JWKS).headers["Cache-Control"] == "public, max-age=60"


def test_private_keys_are_encrypted_at_rest(ann):
    key = next(iter(ann.service.units.signing_keys._snapshot.keys.values()))
    with ann.service.open_database() as db:
        rows = str(db.connection().exec_driver_sql("SELECT * FROM signing_keys").all())
    pem = key.private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    number = key.private.private_numbers().private_value
    assert "PRIVATE KEY" not in rows
    assert encode_base64(number.to_bytes(32)) not in rows
    assert number.to_bytes(32).hex() not in rows
    assert pem.decode().splitlines()[1] not in rows


def test_two_services_on_one_database_share_one_key(make_service, database_url):
    first, second = make_service(database_url), make_service(database_url)
    ann = first.actor().sign_in()
    bob = second.actor("bob").sign_in()
    assert first.actor().get(JWKS).json == second.actor().get(JWKS).json
    assert first.scalar("SELECT count(*) FROM signing_keys") == 1
    ann.service, bob.service = second, first
    assert ann.whoami().json["username"] == "ann"
    assert bob.whoami().json["username"] == "bob"


def test_tokens_of_another_deployment_are_refused(make_service, sqlite_url, empty_postgres_url):
    ours, theirs = make_service(sqlite_url), make_service(empty_postgres_url)
    ann, stranger = ours.actor().sign_in(), theirs.actor().sign_in()
    assert is_refused(ann, stranger.access)
    assert ann.refresh(stranger.tokens["refresh_token"]).status_code == 400


def test_eddsa_is_a_setting(make_service, database_url):
    service = make_service(database_url, signing_algorithm=SigningAlgorithm.EDDSA)
    ann = service.actor().sign_in()
    header, claims = decode_token(ann.access)
    assert header["alg"] == "EdDSA"
    (key,) = ann.get(JWKS).json["keys"]
    assert (key["kty"], key["crv"], key["alg"]) == ("OKP", "Ed25519", "EdDSA")
    assert "d" not in key
    assert ann.whoami().status_code == 200

    first, second, third = ann.access.split(".")
    raw = decode_base64(third)
    order = 2**252 + 27742317777372353535851937790883648493
    heavier = raw[:32] + (int.from_bytes(raw[32:], "little") + order).to_bytes(32, "little")
    assert is_refused(ann, f"{first}.{second}.{encode_base64(heavier)}")
    assert is_refused(
        ann, f"{first}.{encode_base64(json.dumps({**claims, 'rv': 9}).encode())}.{third}"
    )
    assert is_refused(
        ann,
        jwt.encode(
            claims,
            ec.generate_private_key(ec.SECP256R1()),
            "ES256",
            headers={"typ": "at+jwt", "kid": header["kid"]},
        ),
    )
    jwt.decode(
        ann.access,
        jwt.PyJWKSet.from_dict(ann.get(JWKS).json)[header["kid"]],
        algorithms=["EdDSA"],
        audience=claims["aud"],
    )


def test_a_change_of_algorithm_is_announced_before_it_is_used(make_service, database_url):
    ann = make_service(database_url).actor().sign_in()
    old = ann.access
    ann.service = make_service(database_url, signing_algorithm=SigningAlgorithm.EDDSA)
    assert {key["alg"] for key in ann.get(JWKS).json["keys"]} == {"ES256", "EdDSA"}
    assert ann.whoami(old).status_code == 200
    ann.login()
    assert decode_token(ann.access)[0]["alg"] == "ES256"
    later = make_service(database_url, signing_algorithm=SigningAlgorithm.EDDSA)
    later.clock.push(seconds=601)
    ann.service = later
    ann.login()
    assert decode_token(ann.access)[0]["alg"] == "EdDSA"
    assert ann.whoami().status_code == 200


def test_token_never_outlives_its_session(sqlite_service):
    ann = sqlite_service.actor().sign_up()
    ann.login(expires_in=60)
    _, claims = decode_token(ann.access)
    assert claims["exp"] - claims["iat"] <= 60
    sqlite_service.clock.push(seconds=61)
    assert is_refused(ann, ann.access)


def test_token_lifetime_is_a_setting(make_service):
    ann = make_service(access_token_ttl=timedelta(seconds=45)).actor().sign_in()
    _, claims = decode_token(ann.access)
    assert claims["exp"] - claims["iat"] == ann.tokens["expires_in"] == 45
