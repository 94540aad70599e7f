"""Create the Flask application. It starts no thread and does not connect to the database."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flask import Flask

from app.adapters.cache import Cache
from app.adapters.clock import Clock
from app.adapters.database import Database
from app.adapters.jwt import SigningKeySet
from app.adapters.password_hasher import Capacity, PasswordHasher
from app.adapters.rate_limiter import RateLimiter
from app.adapters.usage_buffer import UsageBuffer
from app.api import (
    accounts,
    api_keys,
    audit,
    authz,
    device_login,
    devices,
    discovery,
    health,
    me,
    methods,
    my_data,
    oauth,
    passwords,
    registration,
    revocations,
    roles,
    sessions,
    suspicion,
    well_known,
)
from app.i18n import install_translations
from app.pages import confirm, docs, login, mailbox, reset
from app.pages import device_login as device_login_page
from app.pages import sessions as sessions_page
from app.pages.render import render_problem_page
from app.server.background_jobs import count_job_connections
from app.settings import VERSION, DocsMode
from app.unit_of_work import UnitOfWorkFactory
from app.web.gateway_requests import normalize_gateway_requests
from app.web.middleware import register_middleware
from app.web.openapi.blueprint import Api
from app.web.problems import register_error_handlers
from app.web.unit_of_work import EXTENSION_NAME

if TYPE_CHECKING:
    from app.settings import Settings

__all__ = ["build_units", "create_app"]

API_BLUEPRINTS = (
    registration.blp,
    sessions.blp,
    suspicion.blp,
    device_login.blp,
    passwords.blp,
    devices.blp,
    me.blp,
    my_data.blp,
    api_keys.blp,
    accounts.blp,
    audit.blp,
    methods.blp,
    roles.blp,
    authz.blp,
    well_known.blp,
    discovery.blp,
    oauth.blp,
    revocations.blp,
    health.blp,
)
PAGE_BLUEPRINTS = (confirm.blp, reset.blp, login.blp, device_login_page.blp, sessions_page.blp)


def create_app(
    settings: Settings, *, clock: Clock | None = None, capacity: Capacity | None = None
) -> Flask:
    """Create the service as a WSGI application. `capacity` describes the process that serves it."""
    app = Flask("app.pages", static_folder="static", static_url_path="/static")
    app.url_map.merge_slashes = False
    install_translations(app.jinja_env)
    app.json.sort_keys = False  # type: ignore[attr-defined] # Flask's default provider has it
    clock, capacity = clock or Clock(), capacity or Capacity()
    database = Database(
        app, settings, threads=capacity.threads + capacity.hash_threads + count_job_connections()
    )
    app.extensions[EXTENSION_NAME] = build_units(settings, database, clock, capacity)
    register_error_handlers(app, render_page=render_problem_page)
    register_middleware(app, settings, clock)
    _register_blueprints(app, settings)
    app.wsgi_app = normalize_gateway_requests(app.wsgi_app, settings)  # type: ignore[assignment, method-assign] # as Flask documents it
    return app


def build_units(
    settings: Settings, database: Database, clock: Clock, capacity: Capacity
) -> UnitOfWorkFactory:
    """Build what all requests of a process share."""
    cache = Cache(settings.redis_url, clock)
    return UnitOfWorkFactory(
        settings=settings,
        clock=clock,
        database=database,
        cache=cache,
        signing_keys=SigningKeySet(),
        hasher=PasswordHasher(
            memory_kib=settings.argon2_memory_kib,
            passes=settings.argon2_time_cost,
            capacity=capacity,
        ),
        limiter=RateLimiter(clock, cache, shares=settings.replicas * capacity.workers),
        api_key_usage=UsageBuffer(),
    )


def _register_blueprints(app: Flask, settings: Settings) -> None:
    public_docs = settings.docs is DocsMode.PUBLIC
    app.config.update(
        API_TITLE="Doorward",
        API_VERSION=VERSION,
        OPENAPI_VERSION="3.1.0",
        OPENAPI_URL_PREFIX="/" if public_docs else None,
        OPENAPI_JSON_PATH="openapi.json",
        API_SPEC_OPTIONS={
            "info": {"description": "Authentication service for your APIs."},
            "servers": [{"url": settings.public_url}],
        },
    )
    api = Api(app)
    api.spec.components.security_scheme(
        "bearer", {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}
    )
    api.spec.components.security_scheme("client", {"type": "http", "scheme": "basic"})
    api.spec.components.security_scheme(
        "api_key", {"type": "apiKey", "in": "header", "name": "X-API-Key"}
    )
    for blueprint in API_BLUEPRINTS:
        api.register_blueprint(blueprint)
    for page in PAGE_BLUEPRINTS:
        app.register_blueprint(page)
    if public_docs:
        app.register_blueprint(docs.blp)
    if not settings.is_production and settings.smtp_url is None:
        app.register_blueprint(mailbox.blp)
