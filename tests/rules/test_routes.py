"""The kind of a path follows from the blueprints that declare it."""

import pytest
from flask import Blueprint, Flask

from app.web.routes import PageBlueprint, PathKind, get_path_kind, list_path_prefixes


@pytest.fixture(scope="module")
def prefixes():
    app = Flask("routes")
    login, confirm = PageBlueprint("login", "x", url_prefix="/login"), PageBlueprint("confirm", "x")
    oauth, api = Blueprint("oauth", "x", url_prefix="/oauth"), Blueprint("api", "x")
    oauth.path_kind = PathKind.OAUTH
    for blueprint, rule in (
        (login, ""),
        (login, "/again"),
        (confirm, "/confirm/<token>"),
        (oauth, "/token"),
        (api, "/v1/login"),
    ):
        blueprint.add_url_rule(rule, endpoint=rule.strip("/<>").replace("/", "_") or "root")
    for blueprint in (login, confirm, oauth, api):
        app.register_blueprint(blueprint)
    return list_path_prefixes(app)


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/login", PathKind.PAGE),
        ("/login/", PathKind.PAGE),
        ("/login/unknown", PathKind.PAGE),
        ("/logins", PathKind.API),
        ("/confirm", PathKind.API),
        ("/confirm/some-token", PathKind.PAGE),
        ("/oauth/token", PathKind.OAUTH),
        ("/oauth/unknown", PathKind.OAUTH),
        ("/oauth", PathKind.API),
        ("/v1/login", PathKind.API),
        ("/", PathKind.API),
    ],
)
def test_path_kind_follows_from_the_declaring_blueprint(prefixes, path, kind):
    assert get_path_kind(prefixes, path) is kind
