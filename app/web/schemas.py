"""What schemas are made of: strict types, bounded texts, and nothing unknown."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from typing import Any

from marshmallow import INCLUDE, RAISE, Schema, ValidationError, fields, validate

from app.settings import is_scope

# Letters that nobody sees, though they are letters by name: a label of these alone shows nothing.
INVISIBLE_CHARACTERS = frozenset("\u115f\u1160\u2800\u3164\uffa0")


class StrictSchema(Schema):
    """A body with exactly these fields."""

    class Meta:  # noqa: D106 - marshmallow's word
        unknown = RAISE


class Text(fields.String):
    """A text of bounded length."""

    def __init__(self, *, max_length: int, min_length: int = 1, **kwargs: Any) -> None:
        super().__init__(
            validate=validate.Length(
                min=min_length,
                max=max_length,
                error=f"must have {min_length} to {max_length} characters",
            ),
            **kwargs,
        )


class Label(Text):
    """A text that is shown to people on one line: no control characters."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> Any:
        text = super()._deserialize(value, attr, data, **kwargs)
        if any(
            unicodedata.category(character) in {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}
            for character in text
        ):
            raise ValidationError("must not hold control characters")
        if all(character.isspace() or character in INVISIBLE_CHARACTERS for character in text):
            raise ValidationError("must not be blank")
        return text.strip()


class StrictInteger(fields.Integer):
    """A whole number, written as one."""

    def __init__(self, *, minimum: int, maximum: int, **kwargs: Any) -> None:
        super().__init__(
            strict=True,
            validate=validate.Range(minimum, maximum, error=f"must be from {minimum} to {maximum}"),
            **kwargs,
        )

    def _validated(self, value: Any) -> Any:
        if type(value) is not int:
            raise ValidationError("must be a whole number")
        return super()._validated(value)


class StrictBoolean(fields.Boolean):
    """True or false, written as such: 1 is a number."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> Any:
        del attr, data, kwargs
        if value is True or value is False:
            return value
        raise self.make_error("invalid", input=value)


class SecretText(Text):
    """A text that never comes back in an answer."""

    def __init__(
        self, *, max_length: int = 1024, metadata: Mapping[str, Any] | None = None, **kwargs: Any
    ) -> None:
        super().__init__(
            max_length=max_length,
            load_only=True,
            metadata={"format": "password", **(metadata or {})},
            **kwargs,
        )


class ScopeList(Text):
    """Scopes, separated by single spaces (RFC 6749 section 3.3)."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(max_length=1024, min_length=0, **kwargs)

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> Any:
        text = super()._deserialize(value, attr, data, **kwargs)
        if text and not all(is_scope(scope) for scope in text.split(" ")):
            raise ValidationError("must be scopes like orders:read, separated by single spaces")
        return text


class PageLimit(fields.Integer):
    """How many of a list at most, in digits."""

    def __init__(self, *, maximum: int = 100, default: int = 50) -> None:
        told = validate.Range(1, maximum, error=f"must be from 1 to {maximum}")
        super().__init__(
            validate=told, load_default=default, metadata={"description": "how many at most"}
        )

    def _validated(self, value: Any) -> Any:
        # Python reads signs, spaces, underscores and the digits of every script as numbers too.
        if not (isinstance(value, str) and value.isascii() and value.isdigit()):
            raise ValidationError("must be a whole number")
        return super()._validated(value[:9])


class PageSchema(StrictSchema):
    """Which part of a list."""

    limit = PageLimit()
    cursor = Text(
        max_length=512,
        load_default=None,
        metadata={"description": "`next` of the part before, with the same other parameters"},
    )


class Timestamp(fields.AwareDateTime):
    """RFC 3339, UTC, to the second."""

    def _serialize(self, value: Any, attr: str | None, obj: Any, **kwargs: Any) -> Any:
        del attr, obj, kwargs
        return value.strftime("%Y-%m-%dT%H:%M:%SZ") if value is not None else None


class ProblemSchema(Schema):
    """RFC 9457. `code` is stable; `errors` names the fields that are at fault by JSON pointer. Some have members of their own."""

    class Meta:  # noqa: D106 - marshmallow's word
        unknown = INCLUDE

    type = fields.String(required=True, metadata={"format": "uri"})
    title = fields.String(required=True)
    status = fields.Integer(required=True)
    code = fields.String(required=True)
    detail = fields.String()
    request_id = fields.String(required=True)
    errors = fields.Dict(keys=fields.String(), values=fields.List(fields.String()))
