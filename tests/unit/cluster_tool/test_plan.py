"""What is started how: flags and files as pure functions of a folder and its settings."""

import json
import os
import tomllib
from dataclasses import replace
from pathlib import Path

import pytest
from tools.cluster import addons, cgroups, control_plane, mounts, network, nodes, packages, plan
from tools.cluster.state import NODE_KINDS, Folder, NodeKind, Settings
from tools.cluster.trouble import Trouble

BINARIES = {name: f"/cache/{name}" for name in ("kubernetes", "coredns", "kwok", "pause")}
NONE = Settings("none", "127.0.0.1", 20001, 20002, 20003, BINARIES)
REAL = replace(NONE, node="real", address=control_plane.NODE_ADDRESS)


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path / "state")


def words(folder: Folder, settings: Settings) -> list[str]:
    return [word for program in plan.programs(folder, settings).values() for word in program.argv]


@pytest.mark.parametrize(
    ("kind", "with_node"),
    [("none", set()), ("fake", {"kwok"}), ("real", {"containerd", "kubelet", "kube-proxy", "coredns"})],
)
def test_each_kind_of_node_adds_its_own(folder: Folder, kind: NodeKind, with_node: set[str]) -> None:
    always = {"etcd", "kube-apiserver", "kube-controller-manager"}
    scheduled = {"kube-scheduler", "provisioner"} if kind != "none" else set()
    assert set(plan.programs(folder, replace(NONE, node=kind))) == always | scheduled | with_node


@pytest.mark.parametrize("kind", NODE_KINDS)
def test_everything_that_runs_is_built(folder: Folder, kind: NodeKind) -> None:
    built = tuple(f"/cache/{name}/" for name in plan.modules(kind))
    started = {program.argv[0] for program in plan.programs(folder, replace(NONE, node=kind)).values()}
    assert all(path.startswith(built) for path in started if path.startswith("/cache"))


@pytest.mark.parametrize("settings", [NONE, replace(NONE, node="fake"), REAL])
def test_nothing_listens_to_the_world(folder: Folder, settings: Settings) -> None:
    assert not [word for word in words(folder, settings) if "0.0.0.0" in word]
    assert nodes.kubelet_config(folder)["address"] == control_plane.NODE_ADDRESS


def test_two_clusters_share_no_path_and_no_port(tmp_path: Path) -> None:
    one = words(Folder(tmp_path / "one"), NONE)
    two = words(Folder(tmp_path / "two"), replace(NONE, api_port=30001, etcd_port=30002, peer_port=30003))
    shared = {word for word in one if word in two}
    assert not [word for word in shared if str(tmp_path) in word or "2000" in word]


def test_containerd_keeps_to_its_folders(folder: Folder) -> None:
    config = tomllib.loads(nodes.containerd_config(folder))
    assert Path(config["root"]).is_relative_to(folder.root)
    for path in (config["state"], config["grpc"]["address"]):
        assert Path(path).is_relative_to(folder.run)
    cri = config["plugins"]["io.containerd.grpc.v1.cri"]
    assert Path(cri["cni"]["conf_dir"]).is_relative_to(folder.root)
    # No CAP_SYS_RESOURCE in many containers: runc dies of a negative oom_score_adj.
    assert cri["restrict_oom_score_adj"] is True


def test_a_socket_has_a_short_path_however_deep_the_state_is(tmp_path: Path) -> None:
    deep = Folder(tmp_path.joinpath(*["deeper"] * 30))
    config = tomllib.loads(nodes.containerd_config(deep))
    assert len(config["grpc"]["address"]) < 104


def test_a_folder_is_the_same_cluster_wherever_one_stands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert Folder(Path("state")).id == Folder(tmp_path / "state").id
    assert Folder(Path("state")).id != Folder(Path("other")).id


@pytest.mark.parametrize(
    ("resolvers", "forwards"), [("nameserver 192.0.2.1\n", True), ("", False), ("search example.org\n", False)]
)
def test_dns_asks_others_only_if_there_are_any(folder: Folder, resolvers: str, forwards: bool) -> None:
    assert ("forward" in nodes.corefile(folder, resolvers)) is forwards


def test_pods_get_addresses_of_the_range_that_is_let_out(folder: Folder) -> None:
    plugin = json.loads(network.cni("herald-x", folder.node))["plugins"][0]
    assert plugin["ipam"]["ranges"] == [[{"subnet": control_plane.PODS, "gateway": control_plane.NODE_ADDRESS}]]


def test_one_storage_class_is_the_default() -> None:
    made = addons.storage_class()
    assert made["metadata"]["annotations"] == {"storageclass.kubernetes.io/is-default-class": "true"}


def test_settings_survive_and_nonsense_is_none(folder: Folder) -> None:
    with folder.alone():
        assert folder.settings() is None
        folder.write(NONE)
        assert folder.settings() == NONE
        (folder.root / "cluster.json").write_text('{"from": "another version"}')
        assert folder.settings() is None


def test_clearing_keeps_logs_and_lock(folder: Folder) -> None:
    with folder.alone():
        folder.logs.mkdir()
        (folder.root / "etcd").mkdir()
        folder.kubeconfig.touch()
        folder.clear(logs=False)
        assert sorted(path.name for path in folder.root.iterdir()) == ["lock", "logs"]
        folder.clear(logs=True)
        assert [path.name for path in folder.root.iterdir()] == ["lock"]


def test_nothing_is_deleted_below_a_mount(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    table = folder.root.parent / "mountinfo"
    with folder.alone():
        (folder.root / "node").mkdir()
        table.write_text(f"36 35 98:0 / {folder.root}/node rw master:1 - ext4 /dev/vda rw\n")
        monkeypatch.setattr(mounts, "_TABLE", table)
        with pytest.raises(Trouble, match="still mounted"):
            folder.clear(logs=True)
        assert (folder.root / "node").exists()


def test_mounts_are_taken_off_latest_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = tmp_path / "mountinfo"
    lines = ["/", "/state", "/state/a\\040b", "/state/a\\040b/c", "/stateful"]
    table.write_text("".join(f"1 1 0:1 / {path} rw - tmpfs tmpfs rw\n" for path in lines))
    monkeypatch.setattr(mounts, "_TABLE", table)
    assert [str(path) for path in mounts.below(Path("/state"))] == ["/state/a b/c", "/state/a b", "/state"]


def test_control_groups_of_both_kinds_are_found() -> None:
    table = (
        "30 25 0:26 / /sys/fs/cgroup/memory rw,relatime shared:9 - cgroup cgroup rw,memory\n"
        "31 25 0:27 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n"
        "32 25 0:28 / /home/cgroup rw - ext4 /dev/vda rw\n"
    )
    assert cgroups.hierarchies(table) == [Path("/sys/fs/cgroup/memory"), Path("/sys/fs/cgroup/unified")]


def test_a_node_without_root_says_what_works(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(Trouble, match="--node none"):
        packages.require(install=False)


def test_missing_packages_come_with_the_line_to_type(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(packages, "missing", lambda: ["containerd", "conntrack"])
    with pytest.raises(Trouble, match=r"run: apt-get install -y --no-install-recommends containerd conntrack"):
        packages.require(install=False)
