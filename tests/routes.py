"""The routes of the service: those without a credential, and the requirements of the others."""

from __future__ import annotations

import re

# Routes without a credential. Every other route checks its requirement before it reads the body.
PUBLIC_ROUTES = {
    "POST /v1/register",
    "POST /v1/register/confirm",
    "POST /v1/register/resend",
    "POST /v1/login",
    "POST /v1/password/forgot",
    "POST /v1/password/reset",
    "POST /v1/token/refresh",
    "POST /v1/login-sessions",
    "POST /v1/login-sessions/cancel",
    "POST /v1/api-keys/report-leak",
    "GET /v1/methods",
    "GET /.well-known/jwks.json",
    "GET /.well-known/identity-jwks.json",
    "GET /.well-known/oauth-authorization-server",
    "GET /.well-known/oauth-authorization-server/<path:issuer_path>",
    "GET /.well-known/openid-configuration",
    "GET /.well-known/openid-configuration/<path:issuer_path>",
    # The client authenticates in the form, which must be read first. Errors have the OAuth format.
    "POST /oauth/token",
    "POST /oauth/device_authorization",
    "POST /oauth/introspect",
    "POST /oauth/revoke",
    "GET /livez",
    "GET /readyz",
    "GET /version",
    "GET /openapi.json",
    "GET /docs",
    "GET /docs/assets/<name>",
    "GET /static/<path:filename>",
    "GET /confirm/<token>",
    "POST /confirm/<token>",
    "GET /reset/<token>",
    "POST /reset/<token>",
    "GET /dev/mailbox",
    "GET /.well-known/change-password",
    # Pages use the page cookie and check the origin of a form instead; see
    # tests/pages/test_page_access.py.
    "GET /login",
    "POST /login",
    "GET /login/forgot",
    "POST /login/forgot",
    "POST /login/new-password",
    "GET /login/again",
    "POST /login/again",
    "POST /login/out",
    "GET /login/activate",
    "GET /login/activate/<user_code>",
    "POST /login/activate",
    "GET /login/requests/<login_session_id>",
    "POST /login/requests/<login_session_id>/approve",
    "POST /login/requests/<login_session_id>/deny",
    "POST /login/requests/<login_session_id>/suspicious",
    "GET /login/sessions",
    "POST /login/sessions/<session_id>/end",
    "POST /login/sessions/<session_id>/suspicious",
    "POST /login/sessions/end-others",
    "POST /login/sessions/end-all",
    "POST /login/devices/<device_id>/forget",
    "POST /login/password",
}


def list_routes(service):
    """Yield every route as "METHOD rule", with its method and a path to request."""
    for rule in service.app.url_map.iter_rules():
        for method in sorted(rule.methods - {"HEAD", "OPTIONS"}):
            yield (
                f"{method} {rule.rule}",
                method,
                re.sub(r"<[^>]+>", "x", rule.rule.replace("<policy>", "default")),
            )


def list_requirements(service):
    """Yield every route as "METHOD rule" with the requirement that its handler declares, or None."""
    for rule in service.app.url_map.iter_rules():
        handler = service.app.view_functions[rule.endpoint]
        for method in rule.methods - {"HEAD", "OPTIONS"}:
            yield f"{method} {rule.rule}", getattr(handler, "requirement", None)
