"""Base schema and field types: strict types, bounded lengths, no unknown fields."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from typing import Any

from marshmallow import INCLUDE, RAISE, Schema, ValidationError, fields, validate

from app.settings import is_scope

# Characters that Unicode classifies as letters or symbols, but that render as blank.
INVISIBLE_CHARACTERS = frozenset("\u115f\u1160\u2800\u3164\uffa0")


class StrictSchema(Schema):
    """A schema that rejects unknown fields."""

    class Meta:  # noqa: D106 - required by marshmallow
        unknown = RAISE


class Text(fields.String):
    """A string of bounded length."""

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
    """A string displayed on one line: not blank, without control characters."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> Any:
        text = super()._deserialize(value, attr, data, **kwargs)
        if any(
            unicodedata.category(character) in {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}
            for character in text
        ):
            raise ValidationError("must not contain control characters")
        if all(character.isspace() or character in INVISIBLE_CHARACTERS for character in text):
            raise ValidationError("must not be blank")
        return text.strip()


class StrictInteger(fields.Integer):
    """An integer; strings, floats and booleans are rejected."""

    def __init__(self, *, minimum: int, maximum: int, **kwargs: Any) -> None:
        super().__init__(
            strict=True,
            validate=validate.Range(minimum, maximum, error=f"must be from {minimum} to {maximum}"),
            **kwargs,
        )

    def _validated(self, value: Any) -> Any:
        if type(value) is not int:
            raise ValidationError("must be an integer")
        return super()._validated(value)


class StrictBoolean(fields.Boolean):
    """A boolean; numbers and strings are rejected."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> Any:
        del attr, data, kwargs
        if value is True or value is False:
            return value
        raise self.make_error("invalid", input=value)


class SecretText(Text):
    """A string that responses never contain."""

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
    """Scopes separated by single spaces (RFC 6749 section 3.3)."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(max_length=1024, min_length=0, **kwargs)

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> Any:
        text = super()._deserialize(value, attr, data, **kwargs)
        if text and not all(is_scope(scope) for scope in text.split(" ")):
            raise ValidationError("must be scopes like orders:read, separated by single spaces")
        return text


class PageLimit(fields.Integer):
    """The page size of a list, in ASCII digits."""

    def __init__(self, *, maximum: int = 100, default: int = 50) -> None:
        valid = validate.Range(1, maximum, error=f"must be from 1 to {maximum}")
        super().__init__(
            validate=valid,
            load_default=default,
            metadata={"description": "maximum number of items"},
        )

    def _validated(self, value: Any) -> Any:
        # int() also accepts signs, spaces, underscores and digits of other scripts.
        if not (isinstance(value, str) and value.isascii() and value.isdigit()):
            raise ValidationError("must be an integer")
        return super()._validated(value[:9])


class PageSchema(StrictSchema):
    """The page of a list to return."""

    limit = PageLimit()
    cursor = Text(
        max_length=512,
        load_default=None,
        metadata={"description": "`next` of the previous page; send the same other parameters"},
    )


class Timestamp(fields.AwareDateTime):
    """A UTC timestamp in RFC 3339 format, with seconds."""

    def _serialize(self, value: Any, attr: str | None, obj: Any, **kwargs: Any) -> Any:
        del attr, obj, kwargs
        return value.strftime("%Y-%m-%dT%H:%M:%SZ") if value is not None else None


class ProblemSchema(Schema):
    """RFC 9457. `code` is stable; `errors` names invalid fields by JSON pointer.

    Some problems have more members.
    """

    class Meta:  # noqa: D106 - required by marshmallow
        unknown = INCLUDE

    type = fields.String(required=True, metadata={"format": "uri"})
    title = fields.String(required=True)
    status = fields.Integer(required=True)
    code = fields.String(required=True)
    detail = fields.String()
    request_id = fields.String(required=True)
    errors = fields.Dict(keys=fields.String(), values=fields.List(fields.String()))
