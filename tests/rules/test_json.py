"""Strict JSON: unambiguous input is accepted, input that parsers read differently is rejected."""

from __future__ import annotations

import json

import pytest

from app.web.json_body import (
    MAX_DEPTH,
    InvalidBody,
    escape_pointer,
    iterate_texts,
    measure_depth,
    parse_json,
)

VALID = [
    (b"{}", {}),
    (b' \r\n\t{"a" : 1 } ', {"a": 1}),
    (b'{"a":{"a":{"a":null}}}', {"a": {"a": {"a": None}}}),
    (b'{"a":9007199254740992,"b":-9007199254740992}', {"a": 2**53, "b": -(2**53)}),
    (b'{"a":-0,"b":0.5,"c":1e3,"d":1E-400}', {"a": 0, "b": 0.5, "c": 1000.0, "d": 0.0}),
    ('{"é":"😀"}'.encode(), {"é": "😀"}),
    (rb'{"a":"\ud83d\ude00"}', {"a": "😀"}),
    (b'{"a":[true,false,[]]}', {"a": [True, False, []]}),
]

INVALID = [
    b"null",
    b"1",
    b'"text"',
    b"[]",
    b'[{"a":1}]',
    b" ",
    b"{",
    b'{"a":1',
    b'{"a":1}}',
    b'{"a":1} {"a":1}',
    b"{'a':1}",
    b"{a:1}",
    b'{"a":1,}',
    b'{"a":01}',
    b'{"a":+1}',
    b'{"a":.5}',
    b'{"a":0x10}',
    b'{"a":1 /* words */}',
    b'{"a":"line\nbreak"}',
    b'{"a":"nul\x00"}',
    rb'{"a":"\x41"}',
    b'{"a":True}',
    # duplicate names
    b'{"a":1,"a":1}',
    b'{"a":1,"b":2,"a":3}',
    rb'{"a":1,"\u0061":2}',
    b'{"x":[{"a":1,"a":2}]}',
    # numbers outside JSON or the common range
    b'{"a":NaN}',
    b'{"a":Infinity}',
    b'{"a":-Infinity}',
    b'{"a":1e999}',
    b'{"a":-1e999}',
    b'{"a":9007199254740993}',
    b'{"a":-9007199254740993}',
    b'{"a":1' + b"0" * 5000 + b"}",
    # other encodings
    b'\xef\xbb\xbf{"a":1}',
    '{"a":1}'.encode("utf-16"),
    '{"a":1}'.encode("utf-16-le"),
    '{"a":1}'.encode("utf-32"),
    b'{"a":"\xff"}',
    b'{"a":"\xc0\xaf"}',
    b'{"a":"\xed\xa0\x80"}',
    b"+AHsAfQ-",
]


@pytest.mark.parametrize(("raw", "value"), VALID)
def test_unambiguous_json_is_accepted(raw, value):
    assert parse_json(raw) == value


@pytest.mark.parametrize("raw", INVALID, ids=lambda raw: repr(raw[:24]))
def test_ambiguous_json_is_rejected_with_a_reason(raw):
    with pytest.raises(InvalidBody) as refused:
        parse_json(raw)
    assert refused.value.detail


@pytest.mark.parametrize(
    ("opening", "middle", "closing"), [("[", "", "]"), ('{"a":', "1", "}"), ('[{"a":', "1", "}]")]
)
@pytest.mark.parametrize(
    "levels", [MAX_DEPTH + 1, 100, 300, 499, 500, 900, 990, 1000, 3000, 100_000]
)
def test_any_depth_of_nesting_is_rejected_cleanly(opening, middle, closing, levels):
    with pytest.raises(InvalidBody):
        parse_json(f'{{"a":{opening * levels}{middle}{closing * levels}}}'.encode())


def test_depths_around_the_recursion_limit_are_rejected_cleanly():
    for levels in range(200, 1100):
        with pytest.raises(InvalidBody):
            parse_json(b'{"a":' + b"[" * levels + b"]" * levels + b"}")


def test_sixteen_levels_of_nesting_are_the_maximum():
    assert parse_json(b'{"a":' + b"[" * 15 + b"]" * 15 + b"}")
    with pytest.raises(InvalidBody):
        parse_json(b'{"a":' + b"[" * 16 + b"]" * 16 + b"}")


@pytest.mark.parametrize(
    ("value", "levels"),
    [
        (1, 0),
        ("[[", 0),
        ({}, 1),
        ([], 1),
        ({"a": 1}, 1),
        ({"a": [], "b": {"c": [1]}}, 3),
        ([[], [[]], 1], 3),
    ],
)
def test_depth_counts_nested_containers(value, levels):
    assert measure_depth(value) == levels


def test_every_string_is_found_with_its_pointer():
    found = set(iterate_texts(json.loads('{"a": ["x", {"b/c": "y", "d~": "z"}], "": "w"}'), ""))
    assert {
        ("/a/0", "x"),
        ("/a/1/b~1c", "y"),
        ("/a/1/d~0", "z"),
        ("/", "w"),
        ("/a/1", "b/c"),
    } <= found


@pytest.mark.parametrize(
    ("name", "pointer"),
    [("a", "a"), ("a/b", "a~1b"), ("a~b", "a~0b"), ("~1", "~01"), ("\0", "?"), ("\ud800", "?")],
)
def test_pointer_escapes_member_names(name, pointer):
    assert escape_pointer(name) == pointer
