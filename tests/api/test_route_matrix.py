"""Every route and every kind of credential, compared with the tables of docs/permissions.md.

The page contains the expected responses; this file contains the requests. Resources that a request may
end are created for it, and callers whose session may end have an account for that row, so the rows are
independent.
"""

from __future__ import annotations

import itertools
import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from app.authorization.rights import OWN_SCOPES
from app.authorization.roles.assign import add_role
from app.opaque_tokens import generate_id
from app.principal import ClientInfo
from app.settings import GatewayPolicy
from tests.actors import Actor, Service, build_settings
from tests.permissions import BEARER, EXCHANGED, HEADER, PAGES, PUBLIC, ROWS, Row
from tests.routes import PUBLIC_ROUTES, list_routes

NO_CLIENT = ClientInfo(address="", bucket="", user_agent="", request_id="", locale="en")
# The scopes of this service, and one of an application.
SCOPES = (*(scope.replace(":*", ":list") for scope in OWN_SCOPES), "orders:read")
AUDIENCE = "doorward"
HIGH_LIMITS = {
    f"limit_{name}": "100000/minute"
    for name in (
        "login",
        "register",
        "resend",
        "confirm",
        "code",
        "forgot",
        "key",
        "refresh",
        "device",
        "poll",
    )
}
SETTINGS = {
    "roles": {"clerk": ("orders:read",)},
    "audience": AUDIENCE,
    # An identity token with the audience of access tokens, to resemble them as much as possible.
    "policies": {"signed": GatewayPolicy(audience=AUDIENCE)},
    **HIGH_LIMITS,
}

# Requests.

Names = dict[str, str]


class Scenario:
    """A service with accounts, their credentials and their resources."""

    def __init__(self, service: Service) -> None:
        self.service = service
        self._numbers = itertools.count(1)
        self.boss = self.account("boss", "admin")
        self.boss.login()

    def account(self, name: str, *roles: str) -> Actor:
        """Register a new account."""
        actor = self.service.actor(f"{name}{next(self._numbers)}").sign_up()
        account_id = self.service.scalar(
            "SELECT id FROM accounts WHERE username = :name", name=actor.username
        )
        with self.service.units.open_read_write() as work:
            for role in roles:
                assert add_role(work, NO_CLIENT, account_id=account_id, role=role)
        return actor

    def sign_in(self, name: str, *roles: str, **login: str) -> Actor:
        actor = self.account(name, *roles)
        assert actor.login(**login).status_code == 200
        return actor

    def call_as_admin(self, method: str, path: str, **kwargs: Any) -> None:
        answer = self.boss.call(method, path, token=self.boss.access, **kwargs)
        assert answer.status_code in {200, 204}, answer.text

    def key(self, actor: Actor, *scopes: str) -> dict[str, Any]:
        answer = actor.post(
            "/v1/api-keys",
            {"name": f"key {next(self._numbers)}", "scopes": list(scopes)},
            token=actor.access,
        )
        assert answer.status_code == 201, answer.text
        return answer.json

    # Resources, created for each request.

    def create_session(self, actor: Actor) -> Names:
        return {"session_id": self._log_in_elsewhere(actor).tokens["session_id"]}

    def create_suspicious_session(self, actor: Actor) -> Names:
        other_client = self._log_in_elsewhere(actor)
        names = {"session_id": other_client.tokens["session_id"]}
        assert (
            other_client.post(
                f"/v1/sessions/{names['session_id']}/suspicious", token=other_client.access
            ).status_code
            == 204
        )
        return names

    def create_device(self, actor: Actor) -> Names:
        other_client = self._log_in_elsewhere(actor, remember_device=True)
        return {
            "device_id": other_client.get("/v1/devices", token=other_client.access).json["items"][
                0
            ]["id"]
        }

    def create_key_id(self, actor: Actor) -> Names:
        return {"key_id": self.key(self._log_in_elsewhere(actor))["id"]}

    def create_claimed_device_login(self, actor: Actor) -> Names:
        """Start a device login that the account has claimed and not decided."""
        device_login = (
            self.service.actor("box").post("/v1/login-sessions", {"client_name": "box"}).json
        )
        claimed = actor.from_another_address()
        claimed.login()
        assert (
            claimed.post(
                "/v1/login-sessions/claim",
                {"user_code": device_login["user_code"]},
                token=claimed.access,
            ).status_code
            == 200
        )
        return {
            "login_session_id": device_login["session_id"],
            "user_code": device_login["user_code"],
        }

    def get_account_names(self, actor: Actor) -> Names:
        return {"account_id": actor.tokens["account"]["id"], "role": "clerk"}

    def create_managed_resource(self, actor: Actor) -> Names:
        """Create a list that the account manages, with one more member."""
        resource_id, member = f"{next(self._numbers)}", self.boss.tokens["account"]["id"]
        for account_id, level in ((actor.tokens["account"]["id"], "manager"), (member, "member")):
            self.call_as_admin(
                "PUT", f"/v1/memberships/list/{resource_id}/{account_id}", json={"level": level}
            )
        return {"resource": "list", "resource_id": resource_id, "account_id": member}

    def _log_in_elsewhere(self, actor: Actor, **changes: Any) -> Actor:
        other_client = actor.from_another_address()
        assert other_client.login(**changes).status_code == 200
        return other_client


@dataclass(frozen=True)
class Case:
    """The request to a route, and its status with access."""

    passes: int = 200
    body: Callable[[Names], Any] = lambda _: {}
    resource: Callable[[Scenario, Actor], Names] = lambda _scenario, _actor: {}
    ends_session: bool = False


def build_level_body(_: Names) -> Any:
    return {"level": "member"}


def build_check_body(names: Names) -> Any:
    return {"checks": [{"account_id": names["account_id"], "role": "admin"}]}


def build_code_body(names: Names) -> Any:
    return {"user_code": names["user_code"]}


SESSION, DEVICE_LOGIN, DEVICE, KEY, ACCOUNT, LIST = (
    Scenario.create_session,
    Scenario.create_claimed_device_login,
    Scenario.create_device,
    Scenario.create_key_id,
    Scenario.get_account_names,
    Scenario.create_managed_resource,
)
MEMBER = "/v1/memberships/<resource>/<resource_id>/<account_id>"
# Every other route answers 200 here. 400 and 422 also mean access: only the body is wrong.
CASES = {
    "DELETE /v1/me": Case(204, ends_session=True),
    "POST /v1/logout": Case(204, ends_session=True),
    "POST /v1/logout-all": Case(204, ends_session=True),
    "POST /v1/elevate": Case(422),
    "POST /v1/password/change": Case(422),
    "DELETE /v1/sessions": Case(204),
    "GET /v1/sessions/<session_id>": Case(resource=SESSION),
    "DELETE /v1/sessions/<session_id>": Case(204, resource=SESSION),
    "POST /v1/sessions/<session_id>/suspicious": Case(204, resource=SESSION),
    "DELETE /v1/sessions/<session_id>/suspicious": Case(
        204, resource=Scenario.create_suspicious_session
    ),
    "POST /v1/login-sessions/claim": Case(422),
    "GET /v1/login-sessions/<login_session_id>": Case(resource=DEVICE_LOGIN),
    "POST /v1/login-sessions/<login_session_id>/approve": Case(
        body=build_code_body, resource=DEVICE_LOGIN
    ),
    "POST /v1/login-sessions/<login_session_id>/deny": Case(resource=DEVICE_LOGIN),
    "POST /v1/login-sessions/<login_session_id>/suspicious": Case(resource=DEVICE_LOGIN),
    "DELETE /v1/devices/<device_id>": Case(204, resource=DEVICE),
    "POST /v1/api-keys": Case(422),
    "GET /v1/api-keys/<key_id>": Case(resource=KEY),
    "PATCH /v1/api-keys/<key_id>": Case(resource=KEY),
    "POST /v1/api-keys/<key_id>/rotate": Case(resource=KEY),
    "DELETE /v1/api-keys/<key_id>": Case(204, resource=KEY),
    "GET /v1/accounts/<account_id>/roles": Case(resource=ACCOUNT),
    "POST /v1/roles/check": Case(body=build_check_body, resource=ACCOUNT),
    "GET /v1/memberships/<resource>/<resource_id>": Case(resource=LIST),
    f"PUT {MEMBER}": Case(204, body=build_level_body, resource=LIST),
    f"DELETE {MEMBER}": Case(204, resource=LIST),
    "PUT /v1/accounts/<account_id>/roles/<role>": Case(204, resource=ACCOUNT),
    "DELETE /v1/accounts/<account_id>/roles/<role>": Case(204, resource=ACCOUNT),
    "POST /v1/accounts": Case(422),
    "GET /v1/accounts/<account_id>": Case(resource=ACCOUNT),
    "PATCH /v1/accounts/<account_id>": Case(resource=ACCOUNT),
    "DELETE /v1/accounts/<account_id>": Case(204, resource=ACCOUNT, ends_session=True),
    "POST /v1/accounts/<account_id>/end-sessions": Case(204, resource=ACCOUNT, ends_session=True),
    "POST /v1/accounts/<account_id>/send-reset": Case(202, resource=ACCOUNT),
    "POST /oauth/token": Case(400),
}
UNKNOWN = {
    "session_id": generate_id("ses"),
    "login_session_id": generate_id("ses"),
    "device_id": generate_id("dev"),
    "key_id": generate_id("key"),
    "account_id": generate_id("acc"),
    "resource_id": "unknown",
}

# Callers.


@dataclass
class Caller:
    """A caller with one credential, in one format."""

    name: str
    actor: Actor
    headers: dict[str, str] = field(default_factory=dict)
    spelling: str = BEARER
    scope: str = ""

    def send(self, route: str, names: Names) -> Any:
        method, _, rule = route.partition(" ")
        path = re.sub(
            r"<(?:path:)?(\w+)>",
            lambda found: names.get(found[1], "default" if found[1] == "policy" else "x"),
            rule,
        )
        if path.startswith("/oauth/"):
            return self.actor.call(
                method,
                path,
                data={"grant_type": "refresh_token", "token": "x"},
                headers=self.headers,
            )
        body = {} if method in {"GET", "DELETE"} else {"json": CASES.get(route, Case()).body(names)}
        return self.actor.call(method, path, headers=self.headers, **body)


def build_bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


class Callers:
    """All callers, once per module. Sessions of the columns "old" authenticated six minutes earlier."""

    def __init__(self, scenario: Scenario) -> None:
        self.scenario = scenario
        self.none = Caller("nobody", scenario.service.actor("nobody"))
        for_the_row = ["", *(route for route, case in CASES.items() if case.ends_session)]
        later = {
            row: [scenario.sign_in("ann"), scenario.sign_in("chief", "admin")]
            for row in for_the_row
        }
        self.invalid = [Caller("an old token", later[""][0], build_bearer(later[""][0].access))]
        scenario.service.clock.push(minutes=6)
        scenario.boss.login()
        self._sessions = {row: self._build_callers(*later[row]) for row in for_the_row}
        self.owners = scenario.sign_in("keeper", "admin", "clerk"), scenario.sign_in("simple")
        self.invalid += self._list_invalid()
        self.keys = list(self._list_keys())

    def get_sessions(self, row: str) -> dict[str, Caller]:
        """Return the sessions by column, with separate accounts for rows that end the session."""
        return self._sessions.get(row, self._sessions[""])

    def list_all(self) -> Iterator[Caller]:
        yield from (self.none, *self.invalid, *self.get_sessions("").values())
        yield from self.keys[: len((HEADER, BEARER, EXCHANGED))]

    def _build_callers(self, ann: Actor, chief: Actor) -> dict[str, Caller]:
        for actor in (ann, chief):
            answer = actor.refresh()
            assert answer.status_code == 200
            actor.tokens = answer.json
        actors = {
            "account": self.scenario.sign_in("bob"),
            "account_later": ann,
            "admin": self.scenario.sign_in("head", "admin"),
            "admin_later": chief,
            "narrow": self.scenario.sign_in("clerk", "admin", "clerk", scope="orders:read"),
        }
        return {
            column: Caller(column, actor, build_bearer(actor.access))
            for column, actor in actors.items()
        }

    def _list_invalid(self) -> Iterator[Caller]:
        """Yield the invalid credentials."""
        keeper, disabled, gone, live = (
            self.owners[0],
            *(self.scenario.sign_in("eve") for _ in range(3)),
        )
        of_disabled, deleted = (
            self.scenario.key(disabled)["key"],
            self.scenario.key(keeper, *SCOPES),
        )
        self.scenario.call_as_admin(
            "PATCH", f"/v1/accounts/{disabled.tokens['account']['id']}", json={"status": "disabled"}
        )
        assert gone.logout().status_code == 204
        assert (
            keeper.call("DELETE", f"/v1/api-keys/{deleted['id']}", token=keeper.access).status_code
            == 204
        )
        identity = keeper.get("/authz/auth-request/signed", token=keeper.access).headers[
            "X-Auth-Identity"
        ]
        assert identity
        yield Caller("a token of a disabled account", disabled, build_bearer(disabled.access))
        yield Caller("a key of a disabled account", disabled, {HEADER: of_disabled}, HEADER)
        yield Caller("a token of a session that ended", gone, build_bearer(gone.access))
        yield Caller("a key that was deleted", keeper, build_bearer(deleted["key"]))
        yield Caller(
            "a key that was deleted, in its header", keeper, {HEADER: deleted["key"]}, HEADER
        )
        yield Caller("a refresh token", live, build_bearer(live.tokens["refresh_token"]))
        yield Caller("an administrator's identity for an upstream", keeper, build_bearer(identity))
        yield Caller("an access token as a key", live, {HEADER: live.access}, HEADER)

    def _list_keys(self) -> Iterator[Caller]:
        """Yield API keys with each scope and with none in every format, and one of an account without roles."""
        keeper, simple = self.owners
        for actor, scope in [*((keeper, scope) for scope in ("", *SCOPES)), (simple, "")]:
            key = self.scenario.key(actor, *filter(None, [scope]))
            client = {
                "grant_type": "client_credentials",
                "client_id": key["id"],
                "client_secret": key["key"],
            }
            token = actor.call("POST", "/oauth/token", data=client).json["access_token"]
            for spelling, headers in (
                (HEADER, {HEADER: key["key"]}),
                (BEARER, build_bearer(key["key"])),
                (EXCHANGED, build_bearer(token)),
            ):
                yield Caller(
                    f"{actor.username}'s key for {scope or 'nothing'} as {spelling}",
                    actor,
                    headers,
                    spelling,
                    scope,
                )


@pytest.fixture(scope="module")
def callers(sqlite_template, tmp_path_factory):
    path = tmp_path_factory.mktemp("matrix") / "doorward.db"
    shutil.copy(sqlite_template, path)
    service = Service(build_settings(f"sqlite:///{path}", **SETTINGS))
    yield Callers(Scenario(service))
    service.close()


# Responses.


# The word for a response, and its required challenge (RFC 6750 section 3, RFC 9470 section 3, RFC 6749 section 5.2).
WORDS = {
    (401, "unauthenticated"): ("401", r'Bearer realm="doorward"(, error="invalid_token")?'),
    (401, "invalid_client"): ("401", r"Basic .+"),
    (401, "reauthentication_required"): (
        "password",
        r'Bearer .*error="insufficient_user_authentication".*, max_age="300"',
    ),
    (403, "forbidden"): ("403", r""),
    (403, "insufficient_scope"): ("scope", r'Bearer .*error="insufficient_scope", scope="[a-z:]+"'),
    (404, "not_found"): ("404", r""),
}


def name_response(answer: Any, passes: int) -> str:
    """Return the response in the words of the page."""
    document = (answer.json if answer.is_json else None) or {}
    word, challenge = WORDS.get(
        (answer.status_code, document.get("code") or document.get("error")), ("", "")
    )
    if word and re.fullmatch(challenge, answer.headers.get("WWW-Authenticate", "")):
        return word
    return (
        "yes"
        if answer.status_code == passes
        else f"{answer.status_code} {answer.headers.get('WWW-Authenticate')} {answer.text}"
    )


def normalize_response(answer: Any) -> tuple[object, ...]:
    """Return the parts of a response that do not differ between requests."""
    text = re.sub(r'"(request_id|registration)":"\w+"', "", answer.text)
    headers = (
        "Content-Type",
        "WWW-Authenticate",
        "Location",
        "Retry-After",
        "Cache-Control",
        "Set-Cookie",
        "Allow",
    )
    return (answer.status_code, text, *(answer.headers.get(name) for name in headers))


def test_every_route_has_a_row_and_every_row_a_route(sqlite_service):
    on_the_page = [row.route for row in ROWS] + PUBLIC + list(PAGES)
    assert sorted(on_the_page) == sorted(name for name, _, _ in list_routes(sqlite_service))
    assert {row.route for row in ROWS} >= set(CASES)
    assert set(PUBLIC) == PUBLIC_ROUTES - {row.route for row in ROWS} - set(PAGES)


@dataclass
class RowCheck:
    """The expected and actual responses for one row."""

    row: Row
    theirs: Names
    case: Case
    wrong: list[tuple[str, str, str, str]] = field(default_factory=list)

    def check_one(self, caller: Caller, what: str, names: Names, expected: str) -> Any:
        answer = caller.send(self.row.route, names)
        self._compare(caller, what, expected, name_response(answer, self.case.passes))
        return answer

    def check_other(self, caller: Caller, expected: str) -> None:
        """Without access, another account's resource and a nonexistent one get the same response."""
        answer = self.check_one(caller, "of another account", self.theirs, expected)
        if not self.theirs:
            return
        unknown = caller.send(
            self.row.route, {name: UNKNOWN.get(name, value) for name, value in self.theirs.items()}
        )
        if expected != "yes":
            self._compare(
                caller, "unknown", str(normalize_response(answer)), str(normalize_response(unknown))
            )
        elif unknown.status_code not in {404, self.case.passes}:
            self._compare(caller, "unknown", "yes or 404", unknown.text)

    def _compare(self, caller: Caller, what: str, expected: str, found: str) -> None:
        if expected != found:
            self.wrong.append((caller.name, what, expected, found))


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.route)
def test_each_caller_gets_the_answer_in_the_table(callers, row):
    case = CASES.get(row.route, Case())
    carol = callers.scenario.boss if row.others == "–" else callers.scenario.sign_in("carol")
    check = RowCheck(row, case.resource(callers.scenario, carol), case)
    assert (row.others == "–") is (check.theirs == {})
    check.check_other(callers.none, row.none)
    for caller in callers.invalid:
        check.check_other(caller, row.get_invalid(caller.spelling))
    owned = {owner.username: case.resource(callers.scenario, owner) for owner in callers.owners}
    for caller in callers.keys:
        expected = row.get_for_key(caller.scope, caller.spelling)
        check.check_one(caller, "of its owner", owned[caller.actor.username], expected)
        if check.theirs and caller.spelling == HEADER:
            check.check_other(caller, expected)
    for column, caller in callers.get_sessions(row.route).items():
        if check.theirs:
            check.check_other(caller, row.get_for_other(column))
        # Last, because this request can end the caller's own session.
        check.check_one(
            caller,
            "own resource",
            case.resource(callers.scenario, caller.actor),
            row.get_own(column),
        )
    if row.others == "404":
        check.check_one(
            Caller("carol", carol, build_bearer(carol.access)),
            "own resource afterwards",
            check.theirs,
            "yes",
        )
    assert check.wrong == []


@pytest.mark.parametrize("route", PUBLIC)
def test_public_routes_answer_every_caller_alike(callers, route):
    first = normalize_response(callers.none.send(route, {}))
    assert first[0] in {200, 202, 302, 400, 404, 422}
    assert {
        caller.name: normalize_response(caller.send(route, {})) for caller in callers.list_all()
    } == dict.fromkeys((caller.name for caller in callers.list_all()), first)
