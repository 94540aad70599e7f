"""The database clock is authoritative.

Replicas use its time, and one with a large offset is not ready.
"""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import create_engine, text

from app.adapters import migrations
from tests.actors import PASSWORD
from tests.postgres import create_database

OFF = 4  # seconds; too few to count as skewed
HASTE = timedelta(seconds=3)


@pytest.fixture
def shift_database_clock(postgres_url):
    """Shadow now() with a function, because a test cannot set the clock of PostgreSQL."""
    with create_database(postgres_url, "ahead") as url:
        migrations.upgrade(url)
        engine = create_engine(url, isolation_level="AUTOCOMMIT")

        def shift_clock(seconds: float) -> str:
            late = f"SELECT pg_catalog.clock_timestamp() + interval '{seconds} seconds'"
            with engine.connect() as connection:
                connection.execute(
                    text(
                        f"CREATE OR REPLACE FUNCTION public.clock_timestamp() RETURNS timestamptz LANGUAGE sql AS $${late}$$"
                    )
                )
                connection.execute(
                    text(
                        f"ALTER DATABASE {url.rpartition('/')[2]} SET search_path = public, pg_catalog"
                    )
                )
            return url

        yield shift_clock
        engine.dispose()


def read_claims(token: str) -> dict:
    part = token.split(".")[1]
    return json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))


def test_database_clock_is_used_and_a_large_offset_is_not_ready(shift_database_clock, make_live):
    live = make_live(database_url=shift_database_clock(OFF))
    assert live.call("GET", "/readyz")[1]["checks"]["clock"] == "ok"
    email = "ann@example.org"
    status, answer = live.call(
        "POST",
        "/v1/register",
        {"username": "ann", "email": email, "name": "Ann", "password": PASSWORD},
    )
    assert status == 202
    code = live.mailbox(email)[0]["code"]
    assert (
        live.call(
            "POST", "/v1/register/confirm", {"registration": answer["registration"], "code": code}
        )[0]
        == 200
    )
    theirs = datetime.now(UTC) + timedelta(seconds=OFF)
    status, tokens = live.call("POST", "/v1/login", {"username": "ann", "password": PASSWORD})
    assert status == 200
    issued = datetime.fromtimestamp(read_claims(tokens["access_token"])["iat"], UTC)
    assert abs(issued - theirs) < HASTE
    (session,) = live.call(
        "GET", "/v1/sessions", headers={"Authorization": f"Bearer {tokens['access_token']}"}
    )[1]["items"]
    assert abs(datetime.fromisoformat(session["created_at"]) - theirs) < HASTE

    shift_database_clock(8)
    status, problem = live.call("GET", "/readyz")
    assert status == 503
    assert problem["checks"]["clock"] == "skewed"
    shift_database_clock(-8)
    assert live.call("GET", "/readyz")[1]["checks"]["clock"] == "skewed"
    shift_database_clock(OFF)
    assert live.call("GET", "/readyz")[0] == 200
