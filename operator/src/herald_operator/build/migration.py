"""The migration: a Job that brings the database to what an image needs, before its workers start. Pure."""

from herald_operator.build import pod, workers
from herald_operator.build.context import ETC, Context
from herald_operator.build.naming import Object, digest
from herald_operator.build.shape import Shape

COMPONENT = "migration"
_RESOURCES = {"requests": {"cpu": "50m", "memory": "128Mi"}, "limits": {"memory": "512Mi"}}


def name(context: Context, kept: Shape) -> str:
    """A Job's template never changes, so its name says what it was made from."""
    made_from = [kept.agent_image, context.database_secret]
    pulled_with = context.deployment.spec.images.pull_secrets
    return context.owner.child(f"migrate-{digest([*made_from, *pulled_with], 8)}")


def objects(context: Context, revision: str, kept: Shape) -> tuple[Object, ...]:
    """The Job. It reads where the database is from the settings of the first revision that needs it."""
    owner, images = context.owner, context.deployment.spec.images
    container = pod.Container(
        name="migrate",
        image=kept.agent_image,
        command=("python3", "-m", "herald_agent.store.migrate"),
        args=("--settings", str(ETC / "settings" / "agent.json"), "--wait", "120"),
        mounts=workers.mounts(context, workers.name(context, revision)),
        resources=_RESOURCES,
    )
    template = pod.template(
        owner,
        COMPONENT,
        container,
        images,
        pull_secrets=context.images.pull_secrets,
        more={"restartPolicy": "Never"},
    )
    body = {"spec": {"backoffLimit": 3, "activeDeadlineSeconds": 3_600, "template": template}}
    return (owner.object("Job", "batch/v1", name(context, kept), COMPONENT, body),)
