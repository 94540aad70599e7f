"""A client for the Doorward authentication service.

from doorward import Doorward

client = Doorward("https://auth.example.com")
client.login.on_another_device()
client.token
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from doorward._version import __version__ as __version__

if TYPE_CHECKING:
    from doorward.auth.httpx2_auth import DoorwardAuth as DoorwardAuth
    from doorward.auth.requests_auth import RequestsAuth as RequestsAuth
    from doorward.client import Doorward as Doorward
    from doorward.device_login.prompt import Prompt as Prompt
    from doorward.errors import Conflict as Conflict
    from doorward.errors import ConnectionFailed as ConnectionFailed
    from doorward.errors import DoorwardError as DoorwardError
    from doorward.errors import InvalidCredentials as InvalidCredentials
    from doorward.errors import InvalidInput as InvalidInput
    from doorward.errors import InvalidToken as InvalidToken
    from doorward.errors import LoginDenied as LoginDenied
    from doorward.errors import LoginError as LoginError
    from doorward.errors import LoginExpired as LoginExpired
    from doorward.errors import LoginPending as LoginPending
    from doorward.errors import LoginTimeout as LoginTimeout
    from doorward.errors import LogoutError as LogoutError
    from doorward.errors import NotFound as NotFound
    from doorward.errors import NotLoggedInError as NotLoggedInError
    from doorward.errors import PasswordChangeRequired as PasswordChangeRequired
    from doorward.errors import PermissionDenied as PermissionDenied
    from doorward.errors import RateLimited as RateLimited
    from doorward.errors import ReauthenticationRequired as ReauthenticationRequired
    from doorward.errors import RedirectRefused as RedirectRefused
    from doorward.errors import ServiceUnavailable as ServiceUnavailable
    from doorward.errors import StoreError as StoreError
    from doorward.errors import StoreWarning as StoreWarning
    from doorward.errors import TLSError as TLSError
    from doorward.errors import UnexpectedAnswer as UnexpectedAnswer
    from doorward.errors import VersionMismatch as VersionMismatch
    from doorward.errors import VersionWarning as VersionWarning
    from doorward.errors import WrongPassword as WrongPassword
    from doorward.login import Login as Login
    from doorward.models import Account as Account
    from doorward.models import ApiKey as ApiKey
    from doorward.models import Me as Me
    from doorward.models import NewApiKey as NewApiKey
    from doorward.models import RoleCheck as RoleCheck
    from doorward.models import SessionInfo as SessionInfo
    from doorward.models import Version as Version
    from doorward.models import Whoami as Whoami
    from doorward.origin import Origin as Origin
    from doorward.origin import parse_origin as parse_origin
    from doorward.secret import Secret as Secret
    from doorward.sessions.session import Session as Session
    from doorward.store.entries import AuthSession as AuthSession
    from doorward.store.entries import UserAuthSessions as UserAuthSessions
    from doorward.store.location import get_store_path as get_store_path
    from doorward.store.store import InstanceAuthSessions as InstanceAuthSessions
    from doorward.transport.transport import Timeouts as Timeouts
    from doorward.version_policy import VersionPolicy as VersionPolicy

# The module of each public name. It is imported on first use, so that a command or script loads
# only what it needs.
_NAMES = {
    "auth.httpx2_auth": "DoorwardAuth",
    "auth.requests_auth": "RequestsAuth",
    "client": "Doorward",
    "device_login.prompt": "Prompt",
    "errors": "Conflict ConnectionFailed DoorwardError InvalidCredentials InvalidInput "
    "InvalidToken LoginDenied LoginError LoginExpired LoginPending LoginTimeout LogoutError "
    "NotFound NotLoggedInError PasswordChangeRequired PermissionDenied RateLimited "
    "ReauthenticationRequired RedirectRefused ServiceUnavailable StoreError StoreWarning "
    "TLSError UnexpectedAnswer VersionMismatch VersionWarning WrongPassword",
    "login": "Login",
    "models": "Account ApiKey Me NewApiKey RoleCheck SessionInfo Version Whoami",
    "origin": "Origin parse_origin",
    "secret": "Secret",
    "sessions.session": "Session",
    "store.entries": "AuthSession UserAuthSessions",
    "store.location": "get_store_path",
    "store.store": "InstanceAuthSessions",
    "transport.transport": "Timeouts",
    "version_policy": "VersionPolicy",
}
_MODULES = {name: module for module, names in _NAMES.items() for name in names.split()}
__all__ = sorted(_MODULES)  # noqa: PLE0605 - a test compares them with the imports above


def __getattr__(name: str) -> object:
    module = _MODULES.get(name)
    if module is None:
        raise AttributeError(f"module 'doorward' has no attribute {name!r}")
    value: object = getattr(import_module(f"doorward.{module}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
