"""Sign in at a Doorward service, and call what stands behind it with a token that is always live.

from doorward import Doorward

client = Doorward("https://auth.example.com")
client.login.on_another_device()
client.token
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

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
    from doorward.models import RoleCheck as Check
    from doorward.models import SessionInfo as SessionInfo
    from doorward.models import Version as Version
    from doorward.models import Whoami as Whoami
    from doorward.origin import Origin as Origin
    from doorward.origin import parse_origin as origin_of
    from doorward.secret import Secret as Secret
    from doorward.sessions.session import Session as Session
    from doorward.store.entries import AuthSession as AuthSession
    from doorward.store.entries import UserAuthSessions as UserAuthSessions
    from doorward.store.store import InstanceAuthSessions as InstanceAuthSessions
    from doorward.store.store import get_store_path as store_path
    from doorward.transport.transport import Timeouts as Timeouts
    from doorward.version_policy import VersionPolicy as VersionPolicy

__version__ = "0.1.0"

# Where each public name is, imported when it is first asked for: a command that needs one of them does not wait for all.
_HOMES = {
    "answers": "Account ApiKey Check Me NewApiKey SessionInfo Version Whoami",
    "auth": "DoorwardAuth",
    "client": "Doorward",
    "errors": "Conflict ConnectionFailed DoorwardError InvalidCredentials InvalidInput InvalidToken LoginDenied LoginError LoginExpired "
    "LoginPending LoginTimeout LogoutError NotFound NotLoggedInError PasswordChangeRequired PermissionDenied RateLimited "
    "ReauthenticationRequired RedirectRefused ServiceUnavailable StoreError StoreWarning TLSError UnexpectedAnswer VersionMismatch "
    "VersionWarning WrongPassword",
    "kept": "AuthSession UserAuthSessions",
    "login": "Login",
    "origin": "Origin origin_of",
    "prompt": "Prompt",
    "requests_auth": "RequestsAuth",
    "secret": "Secret",
    "session": "Session",
    "store": "InstanceAuthSessions store_path",
    "transport": "Timeouts",
    "versions": "VersionPolicy",
}
_MODULES = {name: module for module, names in _HOMES.items() for name in names.split()}
__all__ = sorted(_MODULES)  # noqa: PLE0605 - the same names as above, held to them by a test


def __getattr__(name: str) -> object:
    module = _MODULES.get(name)
    if module is None:
        raise AttributeError(f"module 'doorward' has no attribute {name!r}")
    found: object = getattr(import_module(f"doorward.{module}"), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
