"""Rate limits by source and by recipient."""

from __future__ import annotations

import ipaddress
import re
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.actors import PASSWORD

NOBODY = "reg_" + "0" * 22
# path, body, and the limit: its name, quota and window in seconds
LIMITED = [
    pytest.param("/v1/register", {"username": "ann"}, ("register", 10, 3600), id="register"),
    pytest.param(
        "/v1/register/resend", {"registration": NOBODY}, ("resend", 10, 3600), id="resend"
    ),
    pytest.param(
        "/v1/register/confirm",
        {"token": "junk", "password": PASSWORD},
        ("confirm", 30, 60),
        id="confirm",
    ),
    pytest.param(
        "/v1/register/confirm",
        {"registration": NOBODY, "code": "BBBB-BBBB"},
        ("code", 5, 60),
        id="code",
    ),
    pytest.param(
        "/v1/login",
        {"username": "nobody-{number}", "password": PASSWORD},
        ("login", 20, 60),
        id="login",
    ),
    pytest.param("/v1/token/refresh", {"refresh_token": "junk"}, ("refresh", 60, 60), id="refresh"),
]


def fill_number(body: dict[str, str], number: int) -> dict[str, str]:
    """Use another name each time, because repeated attempts for one name are throttled."""
    return {name: value.replace("{number}", str(number)) for name, value in body.items()}


def assert_rate_limited(answer, name: str, quota: int, window: int) -> None:
    """Assert that the response has everything a client needs, and reveals nothing about accounts."""
    assert answer.status_code == 429
    assert answer.content_type == "application/problem+json"
    assert answer.json["type"] == "https://iana.org/assignments/http-problem-types#quota-exceeded"
    assert answer.json["code"] == "rate_limited"
    assert answer.json["status"] == 429
    assert answer.json["violated-policies"] == [name]
    assert answer.headers["RateLimit-Policy"] == f'"{name}";q={quota};w={window}'
    found = re.fullmatch(f'"{name}";r=0;t=([0-9]+)', answer.headers["RateLimit"])
    assert found, answer.headers["RateLimit"]
    wait = int(answer.headers["Retry-After"])
    assert 0 < int(found[1]) <= wait <= window
    assert wait > window - 30, "the window began less than 30 seconds ago"


@pytest.mark.parametrize(("path", "body", "limit"), LIMITED)
def test_source_over_its_quota_gets_429_with_retry_after(sqlite_service, path, body, limit):
    name, quota, window = limit
    eve = sqlite_service.actor("eve")
    for number in range(quota):
        assert eve.post(path, fill_number(body, number)).status_code not in {429, 500, 503}
    for _ in range(3):
        assert_rate_limited(eve.post(path, body), name, quota, window)
    assert sqlite_service.actor("ann").post(path, body).status_code != 429, (
        "another source is not limited"
    )


@pytest.mark.parametrize(
    "path",
    [
        "/v1/register",
        "/v1/register/resend",
        "/v1/register/confirm",
        "/v1/login",
        "/v1/token/refresh",
    ],
)
def test_invalid_body_counts_and_the_limit_is_checked_first(make_service, path):
    once = dict.fromkeys(
        ["limit_register", "limit_resend", "limit_confirm", "limit_login", "limit_refresh"],
        "1/hour",
    )
    eve = make_service(**once).actor("eve")
    assert eve.post(path, {"what": "ever"}).status_code == 422
    assert eve.call("POST", path, data=b"{", content_type="application/json").status_code == 429


@pytest.mark.parametrize(("name", "quota"), [("login", 300), ("login", 1)])
def test_exhausted_window_is_the_one_reported(make_service, name, quota):
    eve = make_service(limit_login=f"2/minute;{quota}/hour").actor("eve")
    answers = [
        eve.post("/v1/login", {"username": "nobody-here", "password": PASSWORD}) for _ in range(3)
    ]
    assert [answer.status_code for answer in answers] == (
        [401, 401, 429] if quota == 300 else [401, 429, 429]
    )
    expected = (2, 60) if quota == 300 else (1, 3600)
    assert_rate_limited(answers[1 if quota == 1 else 2], name, *expected)


def test_right_password_is_rate_limited_like_a_wrong_one(make_service):
    ann = make_service(limit_login="2/minute").actor("ann").sign_up()
    assert ann.login(password="a wrong password, long enough").status_code == 401
    assert ann.login().status_code == 200
    assert_rate_limited(ann.login(), "login", 2, 60)
    assert ann.whoami().status_code == 200, "existing sessions stay valid"
    assert ann.refresh().status_code == 200


def test_each_limit_counts_separately(make_service):
    ann = (
        make_service(limit_register="1/hour", limit_login="1/hour", limit_refresh="1/hour")
        .actor("ann")
        .sign_in()
    )
    assert ann.refresh().status_code == 200
    assert [ann.register().status_code, ann.login().status_code, ann.refresh().status_code] == [
        429,
        429,
        429,
    ]
    assert ann.whoami().status_code == 200
    assert ann.logout().status_code == 204


def test_limit_resets_when_retry_after_said(make_service):
    eve = make_service(limit_refresh="2/second").actor("eve")
    answers = [eve.refresh("junk") for _ in range(4)]
    assert 429 in {answer.status_code for answer in answers}
    time.sleep(
        int(next(answer for answer in answers if answer.status_code == 429).headers["Retry-After"])
        + 0.01
    )
    assert eve.refresh("junk").status_code == 400


# Sources.

SAME_CLIENT, OTHER_CLIENT = True, False


@pytest.mark.parametrize(
    ("first", "second", "one_source"),
    [
        ("192.0.2.1", "192.0.2.1", SAME_CLIENT),
        ("192.0.2.1", "192.0.2.2", OTHER_CLIENT),
        ("2001:db8::1", "2001:db8::2", SAME_CLIENT),
        ("2001:db8::1", "2001:db8:0:0:ffff:ffff:ffff:ffff", SAME_CLIENT),
        ("2001:db8::1", "2001:DB8:0000:0000::0001", SAME_CLIENT),
        ("2001:db8:0:1::1", "2001:db8:0:2::1", OTHER_CLIENT),
        ("2001:db8::1", "2001:db9::1", OTHER_CLIENT),
        ("::ffff:192.0.2.1", "192.0.2.1", SAME_CLIENT),
        ("::ffff:192.0.2.1", "::ffff:c000:201", SAME_CLIENT),
        ("::ffff:192.0.2.1", "::ffff:192.0.2.2", OTHER_CLIENT),
        ("fe80::1%eth0", "fe80::2%eth1", SAME_CLIENT),
    ],
)
def test_source_is_an_ipv4_address_or_an_ipv6_prefix_64(make_service, first, second, one_source):
    service = make_service(
        limit_refresh="1/hour", trusted_proxies=(ipaddress.ip_network("10.0.0.0/8"),)
    )
    directly = [
        service.actor("eve", address=address).refresh("junk").status_code
        for address in (first, second)
    ]
    service.units.limiter.reset()
    gateway = service.actor("gateway", address="10.0.0.1")
    forwarded = [{"X-Forwarded-For": f"198.51.100.7, {address}"} for address in (first, second)]
    behind = [
        gateway.post("/v1/token/refresh", {"refresh_token": "junk"}, headers=headers).status_code
        for headers in forwarded
    ]
    assert directly == behind == [400, 429 if one_source else 400]


@pytest.mark.parametrize(
    "name",
    [
        "X-Forwarded-For",
        "X-Real-IP",
        "Forwarded",
        "X-Client-IP",
        "CF-Connecting-IP",
        "True-Client-IP",
    ],
)
@pytest.mark.parametrize("trusted", [(), ("10.9.9.9/32",)], ids=["no gateway", "another gateway"])
def test_forged_forwarded_for_gives_no_new_quota(make_service, name, trusted):
    service = make_service(
        limit_refresh="1/hour", trusted_proxies=tuple(map(ipaddress.ip_network, trusted))
    )
    eve = service.actor("eve")
    statuses = []
    for number in range(3):
        claimed = f"for=192.0.2.{number}" if name == "Forwarded" else f"192.0.2.{number}"
        statuses.append(
            eve.post(
                "/v1/token/refresh", {"refresh_token": "junk"}, headers={name: claimed}
            ).status_code
        )
    assert statuses == [400, 429, 429]


def test_entries_left_of_the_gateway_give_no_new_quota(make_service):
    service = make_service(
        limit_refresh="1/hour", trusted_proxies=(ipaddress.ip_network("10.0.0.0/8"),)
    )
    gateway = service.actor("gateway", address="10.0.0.1")
    for forwarded, status in [
        ("192.0.2.1", 400),
        ("8.8.8.8, 192.0.2.1", 429),
        ("junk, 192.0.2.1", 429),
        (", 192.0.2.1", 429),
        ("10.0.0.3, 192.0.2.1, 10.0.0.2", 429),
        ("192.0.2.1, 192.0.2.2", 400),
    ]:
        answer = gateway.post(
            "/v1/token/refresh", {"refresh_token": "junk"}, headers={"X-Forwarded-For": forwarded}
        )
        assert answer.status_code == status, forwarded


def test_rate_limited_answer_contains_no_ip_address(make_service):
    eve = make_service(limit_refresh="1/hour").actor("eve", address="203.0.113.77")
    eve.refresh("junk")
    answer = eve.refresh("junk")
    assert answer.status_code == 429
    assert "203.0.113" not in answer.text + str(answer.headers)


# Concurrency.


@pytest.mark.parametrize(
    ("path", "body", "quota"),
    [
        ("/v1/token/refresh", {"refresh_token": "junk"}, 60),
        ("/v1/register/confirm", {"registration": NOBODY, "code": "BBBB-BBBB"}, 5),
        ("/v1/login", {"username": "nobody-{number}", "password": PASSWORD}, 20),
    ],
)
def test_concurrent_requests_never_exceed_the_quota(service, path, body, quota):
    eve = service.actor("eve")
    eve.get("/readyz")
    with ThreadPoolExecutor(8) as threads:
        statuses = list(
            threads.map(
                lambda number: eve.post(path, fill_number(body, number)).status_code,
                range(quota + 20),
            )
        )
    assert statuses.count(429) == 20
    assert 500 not in statuses


def test_each_replica_enforces_its_share(make_service, empty_postgres_url):
    eve = make_service(empty_postgres_url, replicas=3).actor("eve")
    statuses = [eve.refresh("junk").status_code for _ in range(21)]
    assert statuses == [400] * 20 + [429]


# Emails.


def test_recipient_gets_five_emails_an_hour_with_an_unchanged_answer(make_service):
    service = make_service(limit_register="1000/hour")
    sent = []
    for number in range(8):
        answer = service.actor(f"name{number}", email="ann@example.org").register()
        assert answer.status_code == 202
        assert answer.json["next"] == "confirm_email"
        sent.append(len(service.mailbox("ann@example.org")))
        age_hits_by_a_minute(service)
    assert sent == [1, 2, 3, 4, 5, 5, 5, 5]
    assert service.actor("bob").register().status_code == 202
    assert len(service.mailbox("bob@example.org")) == 1


def age_hits_by_a_minute(service) -> None:
    """Move recorded hits back by a minute instead of waiting, because windows use the clock of the machine."""
    for events in service.units.limiter._storage.events.values():
        for event in events:
            event.atime -= 61
            event.expiry -= 61


# Pages.


def test_page_of_an_emailed_link_shares_the_limit_of_its_api_call(make_service):
    ann = make_service(limit_confirm="2/minute").actor()
    ann.register()
    token = ann.get_mailed_token()
    assert (
        ann.post("/v1/register/confirm", {"token": "junk", "password": PASSWORD}).status_code == 400
    )
    assert ann.call("POST", f"/confirm/{token}", data={"password": "short"}).status_code == 422
    for language in ("en", "de"):
        answer = ann.call(
            "POST",
            f"/confirm/{token}",
            data={"password": PASSWORD},
            headers={"Accept-Language": language},
        )
        assert answer.status_code == 429
        assert answer.content_type == "text/html; charset=utf-8"
        assert int(answer.headers["Retry-After"]) > 0
        assert answer.headers["RateLimit"].startswith('"confirm";r=0;t=')
        assert f'<html lang="{language}">' in answer.text
        assert 'data-problem="rate_limited"' in answer.text
    assert ann.get(f"/confirm/{token}").status_code == 200, "reading the page does not count"
