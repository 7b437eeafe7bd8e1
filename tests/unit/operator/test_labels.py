"""What outlives a deployment must not look as if it belonged to an Application of Argo CD."""

from herald_operator.build.naming import INSTANCE, Owner

OWNER = Owner("team", "support", "an-uid")


def test_a_child_says_whose_instance_it_is() -> None:
    metadata = OWNER.object("Service", "v1", "support-gateway", "gateway", {})["metadata"]
    assert metadata["labels"][INSTANCE] == "support"
    assert OWNER.selector("gateway").items() <= metadata["labels"].items()


def test_what_has_no_owner_does_not() -> None:
    """Under tracking by this label an Application called `support` would prune it: seen, see tests/cluster/argocd."""
    metadata = OWNER.object("Secret", "v1", "support-postgres", "postgres", {}, owned=False)["metadata"]
    assert "ownerReferences" not in metadata
    assert INSTANCE not in metadata["labels"]


def test_a_selector_can_stand_on_volumes() -> None:
    """A StatefulSet writes its selector on its volumes, and those have no owner."""
    assert INSTANCE not in OWNER.selector("postgres")
