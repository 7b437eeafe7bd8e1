"""Builds GGUF headers, sound and broken, by the format's description."""

import struct
from collections.abc import Mapping, Sequence

Field = str | int | bool | Sequence[str] | Sequence[int]


def text(value: str) -> bytes:
    data = value.encode()
    return struct.pack("<Q", len(data)) + data


def field(value: Field) -> bytes:
    if isinstance(value, bool):
        return struct.pack("<I?", 7, value)
    if isinstance(value, int):
        return struct.pack("<II", 4, value)
    if isinstance(value, str):
        return struct.pack("<I", 8) + text(value)
    if all(isinstance(element, str) for element in value):
        return struct.pack("<IIQ", 9, 8, len(value)) + b"".join(text(str(element)) for element in value)
    return struct.pack("<IIQ", 9, 5, len(value)) + b"".join(struct.pack("<i", int(element)) for element in value)


def gguf(fields: Mapping[str, Field], *, version: int = 3) -> bytes:
    body = b"".join(text(key) + field(value) for key, value in fields.items())
    return b"GGUF" + struct.pack("<IQQ", version, 0, len(fields)) + body
