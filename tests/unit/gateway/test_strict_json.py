"""What strict JSON lets through, and that every refusal is one of ours."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from herald_contracts.settings import Limits
from herald_gateway import strict_json
from herald_gateway.channels.base import Malformed

LIMITS = Limits(json_depth=4, json_keys=10)


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "invalid_json"),
        (b"{", "invalid_json"),
        (b"{}x", "invalid_json"),
        (b"{'a': 1}", "invalid_json"),
        (b'{"a": 01}', "invalid_json"),
        (b'{"a": "\x00"}', "invalid_json"),
        (b'{"a": "line\nbreak"}', "invalid_json"),
        (b"\xef\xbb\xbf{}", "invalid_json"),
        (b'{"a": ' + b"9" * 5000 + b"}", "invalid_json"),
        (b'{"a": "\xff"}', "invalid_utf8"),
        (b'{"a": "\xed\xa0\x80"}', "invalid_utf8"),
        (b"\xff\xfe{\x00}\x00", "invalid_utf8"),
        (b'{"a": 1, "a": 2}', "duplicate_key"),
        (b'{"a": {"b": 1, "\\u0062": 2}}', "duplicate_key"),
        (b'{"a": NaN}', "non_finite_number"),
        (b'{"a": Infinity}', "non_finite_number"),
        (b'{"a": -Infinity}', "non_finite_number"),
        (b'{"a": 1e999}', "non_finite_number"),
        (b"[[[[[1]]]]]", "too_deep"),
        (b"[" * 100_000 + b"]" * 100_000, "too_deep"),
        (b'{"a":' * 100_000 + b"1" + b"}" * 100_000, "too_deep"),
        (json.dumps({str(n): n for n in range(11)}).encode(), "too_many_keys"),
        (json.dumps([{"a": 1, "b": 2, "c": 3, "d": 4}] * 3).encode(), "too_many_keys"),
        (b'{"a": "\\u0000"}', "nul_character"),
        (b'{"\\u0000": 1}', "nul_character"),
        (b'["\\u0000\\u00e9"]', "nul_character"),
        (b'{"a": "\\ud800"}', "lone_surrogate"),
        (b'{"\\udfff": 1}', "lone_surrogate"),
        (b'{"a": ["\\ude00\\ud83d"]}', "lone_surrogate"),
    ],
)
def test_refused(body: bytes, reason: str) -> None:
    with pytest.raises(Malformed) as refused:
        strict_json.loads(body, LIMITS)
    assert refused.value.reason == reason
    assert refused.value.status == 400


@pytest.mark.parametrize(
    ("body", "value"),
    [
        (b"{}", {}),
        (b' {"a": [1, 2.5, true, null]} ', {"a": [1, 2.5, True, None]}),
        (b"[[[[]]]]", [[[[]]]]),
        (json.dumps({str(n): n for n in range(10)}).encode(), {str(n): n for n in range(10)}),
        (b'{"a": "\\ud83d\\ude00"}', {"a": "\N{GRINNING FACE}"}),
        ('{"a": "\N{GRINNING FACE} é \u202e"}'.encode(), {"a": "\N{GRINNING FACE} é \u202e"}),
        (b'{"a": "\\\\u0000"}', {"a": "\\u0000"}),
        (b'{"a": "[[[[[[[[[[ ::::::::::::::"}', {"a": "[[[[[[[[[[ ::::::::::::::"}),
        (b'"text"', "text"),
    ],
)
def test_taken(body: bytes, value: Any) -> None:
    assert strict_json.loads(body, LIMITS) == value


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


@given(JSON)
def test_agrees_with_the_standard_parser_or_refuses(value: Any) -> None:
    body = json.dumps(value).encode()
    try:
        assert strict_json.loads(body, LIMITS) == json.loads(body)
    except Malformed as e:
        assert e.reason in {"too_deep", "too_many_keys", "nul_character", "lone_surrogate"}  # noqa: PT017


@given(st.binary(max_size=200) | st.text(alphabet='{}[]",:\\u0dD8eE1.-NaInfty \x00é', max_size=60).map(str.encode))
def test_bytes_never_raise_anything_else(body: bytes) -> None:
    try:
        strict_json.loads(body, LIMITS)
    except Malformed:
        return
    json.loads(body)  # what we take, the standard parser takes too
