"""Reads server-sent events out of a byte stream, piece by piece, with a bound on what one event may hold.

The rules: https://html.spec.whatwg.org/multipage/server-sent-events.html#parsing-an-event-stream. Only `data`
matters to a chat stream; event names, ids, retry times and comments are passed over.
"""

_MAX_EVENT = 1_048_576


class EventTooLarge(ValueError):
    """One event has more bytes than any honest one."""


class EventReader:
    """Feed it bytes as they come; it gives back the data of the events they complete."""

    def __init__(self) -> None:
        self._rest = b""
        self._data: list[bytes] = []
        self._size = 0
        self._begun = False

    def feed(self, piece: bytes) -> list[bytes]:
        """The data of each event completed by `piece`. Raises EventTooLarge."""
        buffer = self._rest + piece
        if not self._begun and buffer:
            if buffer.startswith(b"\xef\xbb\xbf"):
                buffer = buffer[3:]
                self._begun = True
            elif not b"\xef\xbb\xbf".startswith(buffer[:3]):
                self._begun = True
            else:  # perhaps half a byte order mark
                self._rest = buffer
                return []
        # A line ends at CRLF, LF or CR; a CR at the very end may be the first half of a CRLF.
        held = buffer.endswith(b"\r")
        lines = (buffer[:-1] if held else buffer).replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
        self._rest = lines.pop() + (b"\r" if held else b"")
        events = [event for line in lines if (event := self._line(line)) is not None]
        if self._size + len(self._rest) > _MAX_EVENT:
            raise EventTooLarge(f"an event of more than {_MAX_EVENT} bytes")
        return events

    def _line(self, line: bytes) -> bytes | None:
        """Take one line in; the event's data where it was the empty line that ends one."""
        if not line:
            event = b"\n".join(self._data) if self._data else None
            self._data, self._size = [], 0
            return event
        name, _, value = line.partition(b":")
        if name == b"data":
            self._data.append(value.removeprefix(b" "))
            self._size += len(value) + 1
            if self._size > _MAX_EVENT:
                raise EventTooLarge(f"an event of more than {_MAX_EVENT} bytes")
        return None
