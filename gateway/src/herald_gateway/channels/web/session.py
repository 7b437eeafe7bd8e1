"""Who is on the other side of the page: a random id in a signed cookie, and nothing else.

The session id is the sender id, so that remembered facts follow the person from one conversation to the next.
A conversation's chat id begins with it, so that a session can name only its own conversations.
"""

import hashlib
import re
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from itsdangerous import BadData, URLSafeTimedSerializer

from herald_contracts.errors import ConfigurationError
from herald_contracts.subjects import Names
from herald_gateway.channels.base import Malformed
from herald_runtime.secrets import SecretFolder

KEY = "session-key"
MIN_KEY_BYTES = 16
# Renewed at each visit; someone away for longer begins anew. Browsers keep no cookie for more than 400 days.
MAX_AGE = 30 * 86_400

_ID = re.compile(r"[A-Za-z0-9_-]{22}")
_PART = re.compile(r"[A-Za-z0-9_-]{1,64}")


@dataclass(frozen=True, slots=True)
class Session:
    """`id` is 128 random bits as 22 URL-safe characters."""

    id: str

    @property
    def tag(self) -> str:
        """Tells the page whether it still is the same session, without telling it the id."""
        return hashlib.sha256(self.id.encode()).hexdigest()[:16]

    def chat(self, part: str) -> str:
        """The chat id of one of this session's conversations; the first one's part is empty. Raises Malformed."""
        return f"{self.id}.{name_part(part, 'chat')}" if part else self.id

    def event(self, part: str) -> str:
        """The event id of a message the page calls `part`: no other session can write one like it. Raises Malformed."""
        return f"{self.id}.{name_part(part, 'id')}"

    def own_name(self, event_id: str) -> str:
        """What the page called the message of this event; the inverse of `event`."""
        return event_id.removeprefix(f"{self.id}.")


def name_part(value: object, field: str) -> str:
    """A name that the page chose. Raises Malformed unless it is 1 to 64 letters, digits, `-` or `_`."""
    if not isinstance(value, str) or not _PART.fullmatch(value):
        raise Malformed("bad_id", field=field)
    return value


class Sessions:
    """Makes and reads the session cookie of one channel.

    Raises ConfigurationError when the key is missing or too short to be one.
    """

    def __init__(self, secret: SecretFolder, names: Names, channel: str) -> None:
        self._secret = secret
        # Browsers keep cookies per host, not per port: two deployments on one machine must not share a name.
        self.cookie = f"herald-{names.namespace}-{names.name}-{channel}"
        self._salt = f"herald.web.session:{names.prefix}:{channel}"
        self._serializer()

    def read(self, cookies: str) -> Session | None:
        """The session in a Cookie header; None when there is none, it is forged, or it has expired."""
        serializer = self._serializer()
        for value in _values(cookies, self.cookie):
            try:
                found: Any = serializer.loads(value, max_age=MAX_AGE)
            except BadData:
                continue
            if isinstance(found, str) and _ID.fullmatch(found):
                return Session(found)
        return None

    def begin(self) -> Session:
        return Session(secrets.token_urlsafe(16))

    def header(self, session: Session, *, secure: bool) -> str:
        """The Set-Cookie value. `secure`: the page came over https, and the cookie must not leave it."""
        value = str(self._serializer().dumps(session.id))
        # No Path: a browser then takes the folder it asked in, which is right behind a proxy that moves us too.
        return f"{self.cookie}={value}; Max-Age={MAX_AGE}; HttpOnly; SameSite=Strict" + ("; Secure" if secure else "")

    def _serializer(self) -> URLSafeTimedSerializer:
        keys = self._secret.live(KEY)
        if any(len(key) < MIN_KEY_BYTES for key in keys):
            raise ConfigurationError(f"{KEY!r} is shorter than {MIN_KEY_BYTES} bytes", hint="use 32 random bytes")
        # Oldest first: the last one signs, all of them are tried.
        return URLSafeTimedSerializer(
            list(reversed(keys)),
            salt=self._salt,
            signer_kwargs={"key_derivation": "hmac", "digest_method": hashlib.sha256},
        )


def _values(cookies: str, name: str) -> Iterator[str]:
    """Every value of a cookie: someone who may set one for a parent domain must not hide the real one."""
    for pair in cookies.split(";"):
        key, _, value = pair.strip().partition("=")
        if key == name:
            yield value


def same_origin(*, fetch_site: str | None, origin: str | None, host: str | None) -> bool:
    """Was this request made by our own page? Browsers set these headers, and no page can change them.

    `Sec-Fetch-Site` decides where it is sent (https and localhost; W3C Fetch Metadata). Elsewhere `Origin`
    must name the host that was asked. A request with neither was not made by a page of ours.
    """
    if fetch_site is not None:
        return fetch_site == "same-origin"
    if not origin or not host:
        return False
    try:
        parts = urlsplit(origin)
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and parts.netloc.lower() == host.lower()
