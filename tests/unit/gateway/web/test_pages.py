"""The page's files agree with each other and with the policy they are served under."""

import re

import pytest

from herald_gateway.channels.web import pages

ASSETS = pages.load("A <b>title</b> & more")


def test_every_file_is_there_and_typed() -> None:
    assert set(ASSETS) == {
        "index.html",
        "chat.css",
        "icon.svg",
        *(f"{name}.js" for name in ("chat", "outbox", "session", "storage", "transcript", "view")),
    }
    assert ASSETS["chat.js"].media_type.startswith("text/javascript")


def test_the_title_is_text() -> None:
    page = ASSETS["index.html"].body.decode()
    assert "{{" not in page
    assert "<b>title</b>" not in page
    assert "<title>A &lt;b&gt;title&lt;/b&gt; &amp; more</title>" in page


def test_the_page_obeys_its_own_policy() -> None:
    """No inline script, style or handler, and nothing from elsewhere: the browser would refuse it silently."""
    page = ASSETS["index.html"].body.decode()
    assert not re.search(r"<script(?![^>]*\ssrc=)", page)
    assert not re.search(r"<style|\sstyle=|\son\w+=|javascript:", page)
    referenced = re.findall(r'\s(?:src|href)="([^"]+)"', page)
    assert referenced
    assert set(referenced) <= set(ASSETS)


@pytest.mark.parametrize("name", [name for name in ASSETS if name.endswith(".js")])
def test_scripts_import_what_is_there(name: str) -> None:
    script = ASSETS[name].body.decode()
    for imported in re.findall(r'from "\./([^"]+)"', script):
        assert imported in ASSETS
    assert "eval(" not in script
    assert "document.write" not in script


def test_html_is_inserted_in_one_place_only() -> None:
    """Where the server's safe HTML goes in; everything else must be set as text."""
    scripts = "".join(asset.body.decode() for name, asset in ASSETS.items() if name.endswith(".js"))
    assert len(re.findall(r"innerHTML|outerHTML|insertAdjacentHTML|createContextualFragment|setHTML", scripts)) == 1


def test_a_file_that_the_browser_has_is_not_sent_again() -> None:
    asset = ASSETS["chat.js"]
    first = asset.response(None)
    assert (first.status_code, first.body) == (200, asset.body)
    assert first.headers["cache-control"] == "no-cache"
    again = asset.response(f'"x", W/{first.headers["etag"]}')
    assert (again.status_code, again.body) == (304, b"")
    assert asset.response('"x"').status_code == 200


def test_headers() -> None:
    for headers in (pages.SECURITY, pages.PRIVATE):
        policy = headers["content-security-policy"]
        assert policy.startswith("default-src 'none'; ")
        assert "frame-ancestors 'none'" in policy
        assert "unsafe" not in policy
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "no-referrer"
    assert pages.PRIVATE["cache-control"] == "no-store"
