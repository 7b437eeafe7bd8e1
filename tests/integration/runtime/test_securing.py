"""TLS and credentials on the way to NATS, with a real server: only with whom we trust, and with what is valid now."""

import asyncio
import datetime
import ipaddress
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import uvloop
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from herald_cli.servers.program import File
from herald_contracts.errors import ConfigurationError
from herald_contracts.settings import Nats
from herald_runtime.connection import Unreachable, connect
from tests import servers
from tests.waiting import eventually

_NOW = datetime.datetime.now(datetime.UTC)


@dataclass
class Authority:
    """Signs certificates; `file` is its own, in PEM."""

    file: Path
    key: ec.EllipticCurvePrivateKey
    certificate: x509.Certificate

    @classmethod
    def make(cls, file: Path) -> "Authority":
        key = ec.generate_private_key(ec.SECP256R1())
        name = _name("test authority")
        certificate = (
            _builder(name, name, key.public_key())
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .sign(key, hashes.SHA256())
        )
        file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        return cls(file, key, certificate)

    def issue(self, folder: Path, address: str) -> tuple[Path, Path]:
        """Certificate and key of a server at `address`."""
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = (
            _builder(_name("nats"), self.certificate.subject, key.public_key())
            .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(address))]), critical=False)
            .sign(self.key, hashes.SHA256())
        )
        files = folder / "server.pem", folder / "server.key"
        files[0].write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        files[1].write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
        return files


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _builder(subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(_NOW - datetime.timedelta(days=1))
        .not_valid_after(_NOW + datetime.timedelta(days=1))
    )


class Secured(servers.Nats):
    """A NATS that speaks TLS, with a certificate for `address`."""

    def __init__(self, folder: Path, authority: Authority, address: str = "127.0.0.1") -> None:
        super().__init__(folder)
        certificate, key = authority.issue(folder, address)
        config, users = self.program.files
        tls = f'tls {{\n  cert_file: "{certificate}"\n  key_file: "{key}"\n}}\n'
        self.program = replace(self.program, files=(File(config.path, config.content + tls), users))

    def addressed(self, ca: Path | None, scheme: str = "tls") -> Nats:
        return Nats(
            url=f"{scheme}://{self.settings.url.rpartition('/')[2]}", credentials=self.settings.credentials, ca=ca
        )


async def speaks(settings: Nats, wait: float = 10) -> bool:
    """Whether a message gets there and back."""
    client = await connect(settings, "test", wait=wait)
    try:
        heard = await client.subscribe("there")
        await client.publish("there", b"and back")
        return (await heard.next_msg(timeout=10)).data == b"and back"
    finally:
        await client.close()


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority.make(tmp_path / "ca.pem")


@pytest.mark.parametrize("scheme", ["tls", "nats"])
async def test_a_server_that_the_ca_vouches_for(tmp_path: Path, authority: Authority, scheme: str) -> None:
    server = Secured(tmp_path, authority)
    server.start()
    try:
        assert await speaks(server.addressed(authority.file, scheme))
        # As services run.
        assert await asyncio.to_thread(uvloop.run, speaks(server.addressed(authority.file, scheme)))
    finally:
        server.stop()


async def test_a_server_that_it_does_not_vouch_for(tmp_path: Path, authority: Authority) -> None:
    (tmp_path / "other").mkdir()
    server = Secured(tmp_path, authority)
    server.start()
    try:
        for ca in (Authority.make(tmp_path / "other" / "ca.pem").file, None):
            with pytest.raises(Unreachable, match="CERTIFICATE_VERIFY_FAILED"):
                await speaks(server.addressed(ca), wait=1)
    finally:
        server.stop()


async def test_a_certificate_of_another_host(tmp_path: Path, authority: Authority) -> None:
    server = Secured(tmp_path, authority, "192.0.2.1")
    server.start()
    try:
        with pytest.raises(Unreachable, match="CERTIFICATE_VERIFY_FAILED"):
            await speaks(server.addressed(authority.file), wait=1)
    finally:
        server.stop()


@pytest.mark.parametrize("with_ca", [True, False])
async def test_a_server_without_tls_never_gets_the_password(
    nats: servers.Nats, authority: Authority, with_ca: bool
) -> None:
    url = nats.settings.url if with_ca else nats.settings.url.replace("nats://", "tls://")
    asked = Nats(url=url, credentials=nats.settings.credentials, ca=authority.file if with_ca else None)
    with pytest.raises(Unreachable, match="offers no TLS"):
        await speaks(asked, wait=1)


@pytest.mark.parametrize("content", [None, b"", b"no certificate"])
async def test_a_ca_that_is_none_is_named(nats: servers.Nats, tmp_path: Path, content: bytes | None) -> None:
    file = tmp_path / "ca.pem"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(ConfigurationError, match="no CA certificate can be read") as refused:
        await connect(nats.settings.model_copy(update={"ca": file}), "test")
    assert str(file) in refused.value.path


async def test_a_reconnect_uses_the_password_of_now(tmp_path: Path) -> None:
    server = servers.Nats(tmp_path)
    server.start()
    assert server.settings.credentials is not None
    file = server.settings.credentials / "password"
    client = await connect(server.settings, "test")
    try:
        server.kill()
        # A moment in which the Secret is being replaced must not end the reconnecting.
        old = file.read_text()
        file.unlink()
        config, users = server.program.files
        server.program = replace(
            server.program, files=(config, File(users.path, users.content.replace(old, "another-password")))
        )
        await server.restart()
        file.write_text("another-password")
        await eventually(lambda: client.is_connected and client.stats["reconnects"], what="the reconnect")
        heard = await client.subscribe("there")
        await client.publish("there", b"and back")
        assert (await heard.next_msg(timeout=10)).data == b"and back"
    finally:
        await client.close()
        server.stop()
