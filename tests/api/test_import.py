"""Import of accounts.

Users keep their passwords, and lines that cannot be imported are named and skipped.
"""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import time
import unicodedata

import pytest
from sqlalchemy import text

from tests.actors import PASSWORD, SECRET
from tests.cli_runner import run_cli
from tests.live import ROOT, clean_environment, start_process

# Known hashes of PASSWORD, created by Django 5.2, Werkzeug 3.1, bcrypt 5.0, argon2-cffi 25.1,
# libpass 1.9 and glibc's crypt(3).
KNOWN = {
    "argon2id": "$argon2id$v=19$m=64,t=1,p=1$laOJTi90UDH6VIBDJF6aJw$HUTs7fmBK2emIC3Fzi0fcmpkA5yEpz0JucXp1MC+RmI",
    "argon2i": "$argon2i$v=19$m=64,t=1,p=1$xm9EmS/92hGhP070MwAh0g$9dXFFdkDXGhtgE/5KSXzbxQ4UsKJ4PG6dNfUJ1vo6w4",
    "argon2d": "$argon2d$v=19$m=64,t=1,p=1$TPEtiKpQ3pwSQGeAmP87xw$CL8gJpYvCSGaSjJtUotAmzbZ5F1kiGh7OyWtftZyRUM",
    "argon2-old": "$argon2i$v=16$m=64,t=1,p=1$c2FsdHNhbHQxMjM0$FbKOQvPE+TpfMzCXw6HJLuPeUks78v0OQJZVgP8xe3U",
    "argon2-django": "argon2$argon2id$v=19$m=64,t=1,p=2$OVVqRlVlMzA2SmpxY3RWZHc1bFh4MA$07BpkzAh5yCPyu7csi75E4kZvtOaoGE/Z+pOCk8NpQY",
    "bcrypt-2a": "$2a$04$HHkvs2RWY5mc/CWL2nYPi.9rWnWzaEQwtmtq4HgeaGjzaRFmHB8N2",
    "bcrypt-2b": "$2b$04$diMLskQiS9kBSQImpDflLuKpBJoQm/eEoYFT4cFGWQsCw.zgMvDFa",
    "bcrypt-2y": "$2y$04$abcdefghijklmnopqrstuu7EJV7kdjBBQxyb0HjTh9KS7.Lah/6CG",
    "bcrypt-odd-salt": "$2b$04$QLROYK344/cNFMHwMZgvQ1UQFw2qe3VUwUY5hMl7U0Z5e7wUelIa6",
    "bcrypt-django": "bcrypt$$2b$04$bHHshVRDusd3qY2e.kDoze1Xw4KNCsxI5kp17eHhxCJA2a/nWhBWG",
    "bcrypt-sha256": "bcrypt_sha256$$2b$04$ipG3QRVm/fitd1xE9GrvPeuLsAoZRFMSpu6zR6i/KaXNSBPvB5GKa",
    "pbkdf2-django": "pbkdf2_sha256$1000$E0WUo2rpyahBXnMC7GTfB6$VtUz2Bn9Ai1+9XPDCnfhjdQeNgl9D4mtVVv4FUNEWuE=",
    "pbkdf2-django1": "pbkdf2_sha1$1000$xhgz79Z6OCAyQ7Lvg6yT36$ZHWyP3tU9Anghmhug0b2u0lo93c=",
    "pbkdf2-werkzeug": "pbkdf2:sha256:1000$rn1QpluH4ksIDHt4$4d0febad598b09dc176b1e2b17036ac51fbdb44e1b16124bfa978cf5227d46a2",
    "pbkdf2-werkzeug1": "pbkdf2:sha1:1000$vu5Xkd5IGnWRFfSV$8a56fba4e58de0b3b7d1975679efc85b62ecc531",
    "pbkdf2-passlib": "$pbkdf2-sha256$1000$oTTm3JvzXitFaO19z/kfIw$eUOENavd5vnIhtw10aWadsMU3laTJQKIA08ZbnQAIk8",
    "pbkdf2-passlib512": "$pbkdf2-sha512$1000$J8TYG.McwzjnnHMOIQQAYA$Hf/uwTNWnLX9EGX4Bizc1Rzli8n6pFmI/mMk6TjRLPwKiS/ba4BsKduL/IlMtuHc9FKf5fxZXZHHT.0fLe1PQg",
    "pbkdf2-passlib1": "$pbkdf2$1000$sTamdG5Naa01BkAIAYBwrg$Gb/l7l0hRKIaLiuAgP1uzydK5R4",
    "scrypt-werkzeug": "scrypt:1024:8:1$T1wdgfXyCoWRBuZA$c34fd77eb0f7da6171fb8461b8427de57aee8103fb45a644047fce6cb89ca940a57cc5cc286601d149df9f23e74687fd4462d983eace79d540a195ada05d1c52",
    "scrypt-django": "scrypt$1024$lyiyX7gcKKMLZp4rjRLv7v$8$5$z7Irkr/eKt/s4r2xNQKyJn00ZIZ6srIqvlTI0U7YWSO+8oLRueqYQ39aPGx9x1ekKGQZXdxYFL/9z99UNCvVjg==",
    "sha256-crypt": "$5$rounds=1000$saltstring$MGHTVAK1OdWrxoC7LJKeycAtdF/rZJH8EE46Glj/aT6",
    "sha256-crypt-plain": "$5$abcdefgh$BWZ40aBGwHskxJEAPaQ7BeX5CsJQnxWro9FnP3/JCe5",
    "sha512-crypt": "$6$abcdefgh$VN7LMkaLOrsMSWYHlf/ovyaWJao3Zm4TBZ4xfZWXb3l5At21Utq1nOJwr6vKh6Wgb2f1irZkd2TDXRV6cwWw51",
}
HASH = KNOWN["argon2id"]
RENEWED = "$argon2id$v=19$m=64,t=1,p=1$"

# Each is rejected by the import, and never matches if it is stored anyway.
EXPENSIVE_HASHES = {
    "argon2, memory": "$argon2id$v=19$m=1048576,t=1,p=1$laOJTi90UDH6VIBDJF6aJw$HUTs7fmBK2emIC3Fzi0fcmpkA5yEpz0JucXp1MC+RmI",
    "argon2, passes": "argon2$argon2id$v=19$m=64,t=4000,p=1$laOJTi90UDH6VIBDJF6aJw$HUTs7fmBK2emIC3Fzi0fcmpkA5yEpz0JucXp1MC+RmI",
    "bcrypt": "$2b$15$diMLskQiS9kBSQImpDflLuKpBJoQm/eEoYFT4cFGWQsCw.zgMvDFa",
    "bcrypt-sha256": "bcrypt_sha256$$2b$31$ipG3QRVm/fitd1xE9GrvPeuLsAoZRFMSpu6zR6i/KaXNSBPvB5GKa",
    "pbkdf2-sha1": "pbkdf2_sha1$4000001$xhgz79Z6OCAyQ7Lvg6yT36$ZHWyP3tU9Anghmhug0b2u0lo93c=",
    "pbkdf2-sha256": "pbkdf2_sha256$2147483647$E0WUo2rpyahBXnMC7GTfB6$VtUz2Bn9Ai1+9XPDCnfhjdQeNgl9D4mtVVv4FUNEWuE=",
    "pbkdf2, no number": "pbkdf2_sha256$99999999999999999999$E0WUo2rpyahBXnMC7GTfB6$VtUz2Bn9Ai1+9XPDCnfhjdQeNgl9D4mtVVv4FUNEWuE=",
    "pbkdf2-werkzeug": "pbkdf2:sha256:3000001$rn1QpluH4ksIDHt4$4d0febad598b09dc176b1e2b17036ac51fbdb44e1b16124bfa978cf5227d46a2",
    "pbkdf2-passlib": "$pbkdf2-sha512$1250001$J8TYG.McwzjnnHMOIQQAYA$Hf/uwTNWnLX9EGX4Bizc1Rzli8n6pFmI/mMk6TjRLPwKiS/ba4BsKduL/IlMtuHc9FKf5fxZXZHHT.0fLe1PQg",
    "scrypt, n": "scrypt:262144:8:1$T1wdgfXyCoWRBuZA$c34fd77eb0f7da6171fb8461b8427de57aee8103fb45a644047fce6cb89ca940",
    "scrypt, r": "scrypt:16384:128:1$T1wdgfXyCoWRBuZA$c34fd77eb0f7da6171fb8461b8427de57aee8103fb45a644047fce6cb89ca940",
    "scrypt, p": "scrypt$16384$lyiyX7gcKKMLZp4rjRLv7v$8$64$z7Irkr/eKt/s4r2xNQKyJn00ZIZ6srIqvlTI0U7YWSO+8oLRueqYQ39aPGx9x1ekKGQZXdxYFL/9z99UNCvVjg==",
    "scrypt, p's memory": "scrypt:2:8:131072$T1wdgfXyCoWRBuZA$c34fd77eb0f7da6171fb8461b8427de57aee8103fb45a644047fce6cb89ca940",
    "sha256-crypt": "$5$rounds=999999999$saltstring$MGHTVAK1OdWrxoC7LJKeycAtdF/rZJH8EE46Glj/aT6",
    "sha512-crypt": "$6$rounds=1000001$abcdefgh$VN7LMkaLOrsMSWYHlf/ovyaWJao3Zm4TBZ4xfZWXb3l5At21Utq1nOJwr6vKh6Wgb2f1irZkd2TDXRV6cwWw51",
}
DAMAGED = {
    "no hash": "correct horse battery staple",
    "empty": "",
    "unusable": "!Zk3Wf5Yq1mB8vQx",
    "md5": "md5$salt$5f4dcc3b5aa765d61d8327deb882cf99",
    "argon2, cut off": "$argon2id$v=19$m=64,t=1,p=1$laOJTi90UDH6VIBDJF6aJw",
    "argon2, other digits": "$argon2id$v=19$m=٦٤,t=1,p=1$laOJTi90UDH6VIBDJF6aJw$HUTs7fmBK2emIC3Fzi0fcmpkA5yEpz0JucXp1MC+RmI",
    "argon2, no lanes": "$argon2id$v=19$m=64,t=1,p=0$laOJTi90UDH6VIBDJF6aJw$HUTs7fmBK2emIC3Fzi0fcmpkA5yEpz0JucXp1MC+RmI",
    "argon2, lanes without memory": "$argon2id$v=19$m=64,t=1,p=9$laOJTi90UDH6VIBDJF6aJw$HUTs7fmBK2emIC3Fzi0fcmpkA5yEpz0JucXp1MC+RmI",
    "bcrypt, cut off": "$2b$04$diMLskQiS9kBSQImpDflLuKpBJoQm/eEoYFT4cFGWQsCw.zgMvDF",
    "bcrypt, too cheap": "$2b$03$diMLskQiS9kBSQImpDflLuKpBJoQm/eEoYFT4cFGWQsCw.zgMvDFa",
    "bcrypt, the broken one": "$2x$04$diMLskQiS9kBSQImpDflLuKpBJoQm/eEoYFT4cFGWQsCw.zgMvDFa",
    "bcrypt, line break": "$2b$04$diMLskQiS9kBSQImpDflLuKpBJoQm/eEoYFT4cFGWQsCw.zgMvDFa\n",
    "pbkdf2, another length": "pbkdf2_sha256$1000$E0WUo2rpyahBXnMC7GTfB6$VtUz2Bn9Ai1+9XPDCnfhjQ==",
    "pbkdf2, no base64": "pbkdf2_sha256$1000$E0WUo2rpyahBXnMC7GTfB6$V",
    "pbkdf2, no iterations": "pbkdf2_sha256$0$E0WUo2rpyahBXnMC7GTfB6$VtUz2Bn9Ai1+9XPDCnfhjdQeNgl9D4mtVVv4FUNEWuE=",
    "pbkdf2, no salt": "pbkdf2_sha256$1000$$VtUz2Bn9Ai1+9XPDCnfhjdQeNgl9D4mtVVv4FUNEWuE=",
    "scrypt, no power of two": "scrypt:1000:8:1$T1wdgfXyCoWRBuZA$c34fd77eb0f7da6171fb8461b8427de57aee8103fb45a644047fce6cb89ca940",
    "scrypt, n beyond r": "scrypt:65536:1:1$T1wdgfXyCoWRBuZA$c34fd77eb0f7da6171fb8461b8427de57aee8103fb45a644047fce6cb89ca940",
    "scrypt, a short key": "scrypt:1024:8:1$T1wdgfXyCoWRBuZA$c3",
    "sha256-crypt, few rounds": "$5$rounds=999$saltstring$MGHTVAK1OdWrxoC7LJKeycAtdF/rZJH8EE46Glj/aT6",
    "sha512-crypt, cut off": "$6$abcdefgh$VN7LMkaLOrsMSWYHlf",
}


def build_line(name: str, /, **changes) -> dict[str, object]:
    """Build a valid line; None omits a field."""
    fields = {"username": name, "email": f"{name}@example.org", "password_hash": HASH, **changes}
    return {field: value for field, value in fields.items() if value is not None}


@pytest.fixture
def import_accounts(tmp_path):
    """Run the command with these lines in the file: objects, or raw bytes."""

    def run_import(service, lines, *options):
        file = tmp_path / "accounts.jsonl"
        file.write_bytes(
            b"".join(
                each if isinstance(each, bytes) else json.dumps(each).encode() + b"\n"
                for each in lines
            )
        )
        return run_cli(
            "accounts",
            "import",
            str(file),
            *options,
            DOORWARD_DATABASE_URL=service.settings.database_url,
        )

    return run_import


def get_password_hash(service, username: str) -> str:
    return service.scalar(
        "SELECT password_hash FROM accounts WHERE username = :username", username=username
    )


def insert_hash(service, password_hash: str):
    """Insert an account with a hash that the import would reject."""
    ann = service.actor("ann").sign_up()
    with service.open_database() as db:
        db.execute(text("UPDATE accounts SET password_hash = :hash"), {"hash": password_hash})
    return ann


def test_imported_users_sign_in_and_their_hash_is_renewed(service, import_accounts):
    result = import_accounts(
        service, [build_line(name, password_hash=known) for name, known in KNOWN.items()]
    )
    assert (result.returncode, result.stdout) == (
        0,
        f"{len(KNOWN)} lines: {len(KNOWN)} imported, 0 rejected.\n",
    ), result.stderr
    for name in KNOWN:
        user = service.actor(name)
        kept = get_password_hash(service, name)
        assert user.login(password=PASSWORD + "x").status_code == 401, name
        assert get_password_hash(service, name) == kept
        assert user.login().status_code == 200, name
        assert get_password_hash(service, name).startswith(RENEWED), name
        assert user.login(username=f"{name}@EXAMPLE.org").status_code == 200, name
    assert (
        service.scalar(
            "SELECT count(*) FROM accounts WHERE password_hash NOT LIKE :ours", ours=f"{RENEWED}%"
        )
        == 0
    )


def test_every_field_is_imported_or_gets_its_default(sqlite_service, import_accounts):
    service = sqlite_service
    full = {
        "name": "Ann Other",
        "locale": "de-AT",
        "timezone": "Europe/Vienna",
        "metadata": {"old_id": 7, "tags": ["ü"]},
    }
    lines = [
        build_line(
            "Ann",
            email="Ann@Example.org",
            created_at="2021-03-04T05:06:07.25+01:00",
            must_change_password=False,
            **full,
        ),
        build_line("bob", name=None, locale=None) | {"metadata": None},
        build_line("cem", must_change_password=True),
    ]
    assert import_accounts(service, lines).returncode == 0
    ann, bob, cem = (service.actor(name) for name in ("ann", "bob", "cem"))
    assert ann.login().status_code == bob.login().status_code == 200
    found = ann.get("/v1/me", token=ann.access).json["account"]
    assert found == found | full | {
        "username": "ann",
        "email": "Ann@example.org",
        "created_at": "2021-03-04T04:06:07Z",
    }
    found = bob.get("/v1/me", token=bob.access).json["account"]
    assert found == found | {"name": "bob", "locale": "en", "timezone": "UTC", "metadata": {}}
    refused = cem.login()
    assert (refused.status_code, refused.json["code"]) == (403, "password_change_required")
    detail = service.scalar("SELECT detail FROM audit WHERE event = 'accounts.imported'")
    assert (json.loads(detail) if isinstance(detail, str) else detail) == {"accounts": 3}
    assert not service.mailbox("cem@example.org")


BROKEN = [
    (b"{\n", "line is not valid JSON: "),
    (b"[1]\n", "line is not valid JSON: The JSON must be an object."),
    (b'{"username": NaN}\n', "line is not valid JSON: "),
    (
        b'{"username": "zoe", "username": "zoe"}\n',
        "line is not valid JSON: An object has a duplicate name.",
    ),
    (b"\xff\xfe{}\n", "line is not valid JSON: The text is not UTF-8."),
    (b'{"name": "' + b"x" * 40_000 + b'"}\n', "line is longer than 16384 bytes"),
    (build_line("zoe", name="a\0b"), "line contains characters that are not allowed in text"),
    (build_line("zoe", name="\ud800"), "line contains characters that are not allowed in text"),
    (build_line("zoe", shoe_size=43), "line has an unknown field: shoe_size"),
    ({**build_line("zoe"), "$2b$04$secret": 1}, "line has an unknown field\n"),
    (build_line("zoe", username=None), "username is required"),
    (build_line("zoe", email=None), "email is required"),
    (build_line("zoe", password_hash=None), "password_hash is required"),
    (build_line("zoe", username=7), "username must be a string"),
    (build_line("zoe", email=["zoe@example.org"]), "email must be a string"),
    (build_line("zoe", password_hash={"hash": HASH}), "password_hash must be a string"),
    (build_line("admin"), "username is reserved"),
    (build_line("zoë", email="zoe@example.org"), "username must have 3 to 32 characters"),
    (build_line("zoe", email="zoe"), "email is not a valid email address"),
    (build_line("zoe", email="zoe@localhost"), "email is not a valid email address"),
    (build_line("zoe", name="a\nb"), "name must not contain control characters"),
    (build_line("zoe", name=" "), "name must not be blank"),
    (build_line("zoe", name="x" * 129), "name must have 1 to 128 characters"),
    (build_line("zoe", locale="de_AT"), "locale must be a language tag"),
    (build_line("zoe", timezone="Vienna"), "timezone is not a time zone"),
    (build_line("zoe", metadata=[]), "metadata must be an object"),
    (build_line("zoe", metadata={"x": "y" * 5000}), "metadata must not be larger than 4096 bytes"),
    (build_line("zoe", must_change_password="yes"), "must_change_password must be true or false"),
    (build_line("zoe", created_at="yesterday"), "created_at must be a time like"),
    (build_line("zoe", created_at="2021-02-30T00:00:00Z"), "created_at must be a time like"),
    (build_line("zoe", created_at="2021-02-03T00:00:00"), "created_at must be a time like"),
    (build_line("zoe", created_at="2099-01-01T00:00:00Z"), "created_at must not be in the future"),
    (build_line("zoe", password_hash="x" * 300), "password_hash must have at most 256 characters"),
    (build_line("present", email="zoe@example.org"), "username belongs to an existing account"),
    (build_line("zoe", email="Present@Example.org"), "email belongs to an existing account"),
    (build_line("pending"), "username is reserved by a pending registration"),
    (build_line("GOOD", email="zoe@example.org"), "username appears on an earlier line: 1"),
    (build_line("zoe", email="Good@example.org"), "email appears on an earlier line: 1"),
    *[
        (build_line("zoe", password_hash=dear), "password_hash is too expensive")
        for name, dear in EXPENSIVE_HASHES.items()
        if "no number" not in name
    ],
    *[
        (build_line("zoe", password_hash=damaged), "password_hash is malformed")
        for damaged in DAMAGED.values()
    ],
]


def test_invalid_lines_are_reported_by_line_and_field_and_the_rest_imported(
    make_service, empty_postgres_url, import_accounts
):
    service = make_service(empty_postgres_url)
    service.actor("present").sign_up()
    service.actor("pending").register()
    before = service.scalar("SELECT count(*) FROM accounts")
    lines = [
        build_line("good"),
        *[broken for broken, _ in BROKEN],
        b"  \r\n",
        build_line("zoe", email="zoe@example.org"),
        build_line("last"),
    ]
    dry = import_accounts(service, lines, "--dry-run")
    assert service.scalar("SELECT count(*) FROM accounts") == before
    result = import_accounts(service, lines)
    assert result.returncode == dry.returncode == 1
    assert dry.stdout == result.stdout.replace(" imported,", " would be imported,")
    said = result.stdout.splitlines(keepends=True)
    for (number, (_, reason)), found in zip(enumerate(BROKEN, start=2), said, strict=False):
        assert found.startswith(f"line {number}: {reason}")
    assert said[len(BROKEN)] == f"{len(BROKEN) + 3} lines: 3 imported, {len(BROKEN)} rejected.\n"
    assert "       2  line contains characters that are not allowed in text\n" in said
    assert not re.search(
        r"\$2b|argon2\w*\$|pbkdf2|crypt[:$]|laOJTi90|E0WUo2rp|\$5\$|\$6\$|secret|horse",
        result.stdout + result.stderr,
    )
    assert {
        service.actor(name).login().status_code for name in ("good", "zoe", "last", "present")
    } == {200}
    assert service.scalar("SELECT count(*) FROM accounts") == before + 3


def test_damaged_or_extreme_hash_never_matches_and_costs_little(sqlite_service):
    insert_hash(sqlite_service, HASH)
    cases = {
        f"case{number}": stored
        for number, stored in enumerate([*EXPENSIVE_HASHES.values(), *DAMAGED.values()])
    }
    with sqlite_service.open_database() as db:
        columns = "name, locale, timezone, metadata, status, epoch, roles_version, created_at"
        db.execute(
            text(
                f"INSERT INTO accounts (id, username, email, email_canonical, password_hash, {columns})"
                f" SELECT 'acc_' || :name, :name, :name || '@example.org', :name || '@example.org', :stored, {columns} FROM accounts WHERE username = 'ann'"
            ),
            [{"name": name, "stored": stored} for name, stored in cases.items()],
        )
    for name, stored in cases.items():
        began = time.process_time()
        assert sqlite_service.actor(name).login().status_code == 401
        assert time.process_time() - began < 0.5, stored
        assert get_password_hash(sqlite_service, name) == stored
    assert sqlite_service.actor("ann").login().status_code == 200


def test_bcrypt_refuses_a_password_it_would_truncate(sqlite_service):
    ann = insert_hash(
        sqlite_service, "$2b$04$8qK6zVWTi.K3f7X5QlNANeEflcev8bXR9D95Sx84PZ1XQseFGRDoK"
    )
    assert ann.login(password="x" * 73).status_code == 401
    assert ann.login(password="x" * 71 + "é").status_code == 401
    assert ann.login(password="x" * 72).status_code == 200
    assert ann.login(password="x" * 73).status_code == 401


def test_composed_and_decomposed_accents_both_match_an_imported_hash(sqlite_service):
    ann = insert_hash(
        sqlite_service, "$2b$04$nqQg6pqAZUBdorVHq4QfgeNvCgKXVjrWPFWzcG9o7pmx895owsA6m"
    )
    assert (
        ann.login(password=unicodedata.normalize("NFD", "Grüße aus Zürich, jeden Tag")).status_code
        == 200
    )
    assert get_password_hash(sqlite_service, "ann").startswith(RENEWED)


def test_unreadable_file_exits_with_2(sqlite_service, tmp_path):
    result = run_cli(
        "accounts",
        "import",
        str(tmp_path),
        DOORWARD_DATABASE_URL=sqlite_service.settings.database_url,
    )
    assert (result.returncode, result.stdout) == (2, "")
    assert str(tmp_path) in result.stderr


def start_command(service, *words: str, **options) -> subprocess.Popen[bytes]:
    cheap = {"DOORWARD_SECRET_KEY": SECRET, "DOORWARD_DATABASE_URL": service.settings.database_url}
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen(
        [sys.executable, *words], cwd=ROOT, env={**clean_environment(), **cheap}, **pipes, **options
    )


def test_interrupted_import_can_be_repeated_without_changing_accounts(
    sqlite_service, import_accounts
):
    people = [build_line(f"person{number}") for number in range(700)]
    raw = b"".join(json.dumps(each).encode() + b"\n" for each in people)
    first = start_command(sqlite_service, "-m", "app", "accounts", "import", "-")
    first.stdin.write(raw)  # the first batch is full, the second waits for more
    first.stdin.flush()
    end = time.monotonic() + 60
    while sqlite_service.scalar("SELECT count(*) FROM accounts") == 0 and time.monotonic() < end:
        time.sleep(0.05)
    time.sleep(0.5)  # the count follows the commit by a moment
    first.send_signal(signal.SIGINT)
    said, complaint = first.communicate(timeout=60)
    assert (first.returncode, said) == (130, b"500 lines: 500 imported, 0 rejected.\n"), complaint
    assert complaint.endswith(
        b"Interrupted. Run this command again: accounts that were imported stay.\n"
    )
    before = [
        sqlite_service.scalar(f"SELECT {what} FROM accounts WHERE username = 'person7'")
        for what in ("id", "created_at")
    ]
    again = import_accounts(sqlite_service, people)
    assert again.returncode == 1
    assert (
        "\n700 lines: 200 imported, 500 rejected.\n     500  username belongs to an existing account\n"
        in again.stdout
    )
    after = [
        sqlite_service.scalar(f"SELECT {what} FROM accounts WHERE username = 'person7'")
        for what in ("id", "created_at")
    ]
    assert before == after
    assert sqlite_service.scalar("SELECT count(*) FROM accounts") == 700


def test_two_imports_at_once_import_each_account_once(make_service, empty_postgres_url, tmp_path):
    service = make_service(empty_postgres_url)
    file = tmp_path / "accounts.jsonl"
    file.write_text(
        "".join(json.dumps(build_line(f"person{number}")) + "\n" for number in range(1500))
    )
    env = {
        **clean_environment(),
        "DOORWARD_SECRET_KEY": SECRET,
        "DOORWARD_DATABASE_URL": service.settings.database_url,
    }
    logs = [tmp_path / f"{number}.log" for number in range(2)]
    both = []
    for path in logs:
        with path.open("wb") as log:
            both.append(start_process("accounts", "import", str(file), env=env, log=log))
    assert {process.wait(60) for process in both} <= {0, 1}
    outputs = [path.read_text() for path in logs]
    assert service.scalar("SELECT count(*) FROM accounts") == 1500
    totals = [
        re.search(r"^1500 lines: (\d+) imported, (\d+) rejected\.$", text, re.MULTILINE)
        for text in outputs
    ]
    assert sum(int(total[1]) for total in totals) == 1500, outputs


MEASURED = """
import re, sys
from app.cli import cli
from app.factory import create_app
try:
    cli(obj=create_app)
finally:
    with open("/proc/self/status") as status:
        sys.stderr.write(re.search(r"VmHWM:.*", status.read())[0])
"""


@pytest.mark.skipif(
    sys.platform != "linux", reason="the peak of a process is read as Linux tells it"
)
def test_memory_stays_flat_and_a_thousand_rejections_are_shown(sqlite_service, tmp_path):
    heavy, peaks = {"metadata": {"text": "x" * 4000}}, []
    for number in (500, 4200):  # 2 and 17 MB
        file = tmp_path / f"{number}.jsonl"
        with file.open("w") as lines:
            lines.writelines(
                json.dumps(build_line(f"person{index}", **heavy)) + "\n" for index in range(number)
            )
            lines.write("{\n" * (number // 4))
        result = start_command(
            sqlite_service, "-c", MEASURED, "accounts", "import", "--dry-run", str(file)
        )
        said, complaint = result.communicate(timeout=60)
        assert result.returncode == 1, complaint
        assert (
            f"{number + number // 4} lines: {number} would be imported, {number // 4} rejected.".encode()
            in said
        )
        peaks.append(int(re.search(rb"VmHWM:\s+(\d+) kB", complaint)[1]))
    assert b"\n... and 50 more lines were rejected.\n" in said
    assert said.count(b"line 5200: ") == 1
    assert b"line 5201: " not in said
    assert peaks[1] - peaks[0] < 6000, peaks
