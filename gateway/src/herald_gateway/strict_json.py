"""JSON from strangers, without the surprises of `json.loads`.

The standard parser lets the last of two equal keys win, takes NaN and 1e999, recurses as deep as it is told
to and passes on characters that PostgreSQL cannot store or UTF-8 cannot write. Each of these either
makes two readers see two documents or turns into a 500 much later, which a platform would retry for ever.
"""

import json
import math
from typing import Any, NoReturn

from herald_contracts.settings import Limits
from herald_gateway.channels.base import Malformed


def loads(body: bytes, limits: Limits) -> Any:
    """The value of a JSON document in UTF-8. Raises Malformed and nothing else.

    Refused: invalid UTF-8 or JSON, duplicate keys, numbers that are not finite, nesting deeper than
    `limits.json_depth`, more than `limits.json_keys` keys in all, NUL characters, lone surrogates.
    """
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError:
        raise Malformed("invalid_utf8") from None
    try:
        value = _DECODER.decode(text)
    except RecursionError:
        raise Malformed("too_deep") from None
    except ValueError:
        # Also an integer of more digits than Python converts.
        raise Malformed("invalid_json") from None
    # Only a document that could break one of these rules is walked: most have a few brackets and no escapes.
    if body.count(b"{") + body.count(b"[") > limits.json_depth or body.count(b":") > limits.json_keys or b"\\u" in body:
        _walk(value, limits)
    return value


def _walk(root: Any, limits: Limits) -> None:
    keys = 0
    level = [root]
    depth = 0
    while level:
        below: list[Any] = []
        for value in level:
            if isinstance(value, str):
                _check_text(value)
            elif isinstance(value, dict):
                keys += len(value)
                if keys > limits.json_keys:
                    raise Malformed("too_many_keys")
                for key in value:
                    _check_text(key)
                below.extend(value.values())
            elif isinstance(value, list):
                below.extend(value)
        if any(isinstance(value, dict | list) for value in level):
            depth += 1
            if depth > limits.json_depth:
                raise Malformed("too_deep")
        level = below


def _check_text(text: str) -> None:
    if "\0" in text:
        raise Malformed("nul_character")
    if text.isascii():
        return
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        raise Malformed("lone_surrogate") from None


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        raise Malformed("duplicate_key")
    return value


def _float(literal: str) -> float:
    number = float(literal)
    if not math.isfinite(number):
        raise Malformed("non_finite_number")
    return number


def _constant(_: str) -> NoReturn:
    raise Malformed("non_finite_number")


_DECODER = json.JSONDecoder(object_pairs_hook=_object, parse_float=_float, parse_constant=_constant, strict=True)
