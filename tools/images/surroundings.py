"""What only this machine knows and a build on it needs: its package index, its proxy, its certificate authorities.

They go into a build as secrets, which leave no trace in an image: neither in a layer nor in its history. Read from
where pip and uv read them: the environment first, then their files.
"""

import configparser
import os
import shlex
import tomllib
from collections.abc import Mapping
from pathlib import Path

_PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "ALL_PROXY")
_BUNDLES = ("SSL_CERT_FILE", "PIP_CERT", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
_SYSTEM_BUNDLE = Path("/etc/ssl/certs/ca-certificates.crt")


def script(environment: Mapping[str, str], home: Path) -> str:
    """Lines of shell that a build step reads, `export NAME=value` each; empty on a machine without particulars."""
    found = {**_proxies(environment), **_indexes(environment, home)}
    return "".join(f"export {name}={shlex.quote(value)}\n" for name, value in sorted(found.items()))


def authorities(environment: Mapping[str, str]) -> Path | None:
    """The file with the certificate authorities that this machine trusts."""
    named = (Path(environment[name]) for name in _BUNDLES if environment.get(name))
    return next((path for path in (*named, _SYSTEM_BUNDLE) if path.is_file()), None)


def _proxies(environment: Mapping[str, str]) -> dict[str, str]:
    return {name: environment[name] for upper in _PROXIES for name in (upper, upper.lower()) if environment.get(name)}


def _indexes(environment: Mapping[str, str], home: Path) -> dict[str, str]:
    """The package indexes in uv's words, whichever tool they were meant for."""
    pip = _pip(environment, home)
    uv = _uv(environment, home)
    main = (
        environment.get("UV_DEFAULT_INDEX")
        or environment.get("UV_INDEX_URL")
        or uv.get("index-url")
        or environment.get("PIP_INDEX_URL")
        or pip.get("index-url")
    )
    more = (
        environment.get("UV_INDEX")
        or environment.get("UV_EXTRA_INDEX_URL")
        or uv.get("extra-index-url")
        or environment.get("PIP_EXTRA_INDEX_URL")
        or pip.get("extra-index-url")
    )
    trusted = environment.get("UV_INSECURE_HOST") or environment.get("PIP_TRUSTED_HOST") or pip.get("trusted-host")
    named = {"UV_DEFAULT_INDEX": main, "UV_INDEX": more, "UV_INSECURE_HOST": trusted}
    return {name: " ".join(value.split()) for name, value in named.items() if value}


def _pip(environment: Mapping[str, str], home: Path) -> dict[str, str]:
    if environment.get("PIP_CONFIG_FILE") == os.devnull:
        return {}
    parser = configparser.RawConfigParser()
    files = [Path("/etc/pip.conf"), home / ".pip/pip.conf", home / ".config/pip/pip.conf"]
    if environment.get("PIP_CONFIG_FILE"):
        files.append(Path(environment["PIP_CONFIG_FILE"]))
    parser.read(files)
    return dict(parser["global"]) if parser.has_section("global") else {}


def _uv(environment: Mapping[str, str], home: Path) -> dict[str, str]:
    files = [Path("/etc/uv/uv.toml"), home / ".config/uv/uv.toml"]
    if environment.get("UV_CONFIG_FILE"):
        files = [Path(environment["UV_CONFIG_FILE"])]
    found: dict[str, str] = {}
    for file in files:
        if not file.is_file():
            continue
        content = tomllib.loads(file.read_text())
        if isinstance(content.get("index-url"), str):
            found["index-url"] = content["index-url"]
        if isinstance(content.get("extra-index-url"), list):
            found["extra-index-url"] = " ".join(map(str, content["extra-index-url"]))
        for index in content.get("index", []):
            key = "index-url" if index.get("default") else "extra-index-url"
            found[key] = index["url"] if index.get("default") else f"{found.get(key, '')} {index['url']}".strip()
    return found
