"""The page's files and the headers they go out with.

All of them are read once, at start, and carry nothing of a session: who may see what is decided where data is
asked for.
"""

import hashlib
import html
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources

from starlette.responses import Response

_TYPES = {
    "html": "text/html; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
}
# Nothing but our own files, no inline script or style, no frame around us.
_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self'",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    )
)
SECURITY = {
    "content-security-policy": _POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
}
# What belongs to one session is for its browser alone, and for now.
PRIVATE = {**SECURITY, "cache-control": "no-store"}


@dataclass(frozen=True, slots=True)
class Asset:
    body: bytes
    media_type: str
    tag: str

    def response(self, if_none_match: str | None) -> Response:
        """The file, or 304 for who has it. Asked for at each visit: an upgrade must not mix two versions."""
        headers = {**SECURITY, "cache-control": "no-cache", "etag": self.tag}
        if if_none_match is not None and self.tag in (t.strip().removeprefix("W/") for t in if_none_match.split(",")):
            return Response(status_code=304, headers=headers)
        return Response(self.body, headers=headers, media_type=self.media_type)


def load(title: str) -> Mapping[str, Asset]:
    """The page's files by name; `index.html` carries the title."""
    assets = {}
    for file in (resources.files(__package__) / "page").iterdir():
        media_type = _TYPES.get(file.name.rpartition(".")[2])
        if media_type is None:
            continue
        body = file.read_bytes()
        if file.name == "index.html":
            body = body.replace(b"{{title}}", html.escape(title).encode())
        assets[file.name] = Asset(body, media_type, f'"{hashlib.sha256(body).hexdigest()[:32]}"')
    return assets
