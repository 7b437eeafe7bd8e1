import ipaddress
import stat
from pathlib import Path

import pytest
import yaml
from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_pem_public_key
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from tools.cluster import pki


def read(path: Path) -> x509.Certificate:
    return x509.load_pem_x509_certificate(path.read_bytes())


@pytest.fixture
def authority(tmp_path: Path) -> pki.Authority:
    return pki.Authority(tmp_path / "pki", "ca")


def test_a_client_is_its_common_name_in_its_group(authority: pki.Authority) -> None:
    found = read(authority.issue("kubelet", "system:node:node1", group="system:nodes").certificate)
    found.verify_directly_issued_by(read(authority.certificate))
    assert found.subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value == "system:node:node1"
    assert found.subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)[0].value == "system:nodes"
    usage = found.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(usage) == [ExtendedKeyUsageOID.CLIENT_AUTH]


def test_a_server_has_names_and_addresses(authority: pki.Authority) -> None:
    found = read(authority.issue("apiserver", "kube-apiserver", names=["127.0.0.1", "kubernetes"]).certificate)
    names = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.IPAddress) == [ipaddress.ip_address("127.0.0.1")]
    assert names.get_values_for_type(x509.DNSName) == ["kubernetes"]
    assert ExtendedKeyUsageOID.SERVER_AUTH in found.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value


def test_an_issued_certificate_issues_none(authority: pki.Authority) -> None:
    issued = read(authority.issue("admin", "admin").certificate)
    assert not issued.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    assert read(authority.certificate).extensions.get_extension_for_class(x509.BasicConstraints).value.ca


def test_two_authorities_do_not_vouch_for_each_other(authority: pki.Authority, tmp_path: Path) -> None:
    other = pki.Authority(tmp_path / "pki", "etcd-ca")
    with pytest.raises(ValueError, match="does not match"):
        read(other.issue("etcd", "etcd").certificate).verify_directly_issued_by(read(authority.certificate))


def test_keys_are_for_their_owner_alone(authority: pki.Authority, tmp_path: Path) -> None:
    pairs = [authority.pair, authority.issue("admin", "admin"), pki.signing_pair(tmp_path / "pki")]
    assert {stat.S_IMODE(pair.key.stat().st_mode) for pair in pairs} == {0o600}


def test_tokens_are_checked_with_the_other_half(tmp_path: Path) -> None:
    pair = pki.signing_pair(tmp_path)
    private = load_pem_private_key(pair.key.read_bytes(), None)
    assert load_pem_public_key(pair.certificate.read_bytes()) == private.public_key()


def test_a_kubeconfig_needs_no_other_file(authority: pki.Authority, tmp_path: Path) -> None:
    pair = authority.issue("admin", "herald-dev", group="system:masters")
    path = pki.kubeconfig(tmp_path / "kubeconfig", "https://127.0.0.1:1", authority.certificate, pair, "herald-dev")
    content = yaml.safe_load(path.read_text())
    assert content["current-context"] == "herald-dev"
    assert content["clusters"][0]["cluster"]["server"] == "https://127.0.0.1:1"
    assert str(tmp_path) not in path.read_text()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
