"""AgentDeployments on a real API server, and what it says to those that it does not take."""

import contextlib
import json
from collections.abc import Iterator
from typing import Any, cast

from kubernetes import client

from herald_contracts.resources.v1alpha1 import GROUP, PLURAL, VERSION
from tests.resource_documents import Document

_PLACE: dict[str, Any] = {"group": GROUP, "version": VERSION, "namespace": "default", "plural": PLURAL}


class Refused(Exception):
    """The API server's own words."""


class Deployments:
    def __init__(self, api: client.ApiClient) -> None:
        self.api = api
        self._objects = client.CustomObjectsApi(api)

    def refusal(self, document: Document) -> str:
        """What is said to its creation under strict validation; empty where it would be taken. Nothing is kept."""
        return self._said(lambda: self.create(document, dry_run="All"))

    def refusal_of_change(self, document: Document) -> str:
        """The same for replacing the object of that name."""
        name = document["metadata"]["name"]
        version = self.get(name)["metadata"]["resourceVersion"]
        body = document | {"metadata": document["metadata"] | {"resourceVersion": version}}
        return self._said(
            lambda: self._objects.replace_namespaced_custom_object(
                **_PLACE, name=name, body=body, dry_run="All", field_validation="Strict"
            )
        )

    def refusal_of_status(self, name: str, status: Document) -> str:
        """The same for another status."""
        return self._said(lambda: self.patch(name, {"status": status}, subresource="status", dry_run="All"))

    def create(self, document: Document, *, strict: bool = True, **options: Any) -> Document:
        with _readable():
            created = self._objects.create_namespaced_custom_object(
                **_PLACE, body=document, field_validation="Strict" if strict else "Ignore", **options
            )
        return cast(Document, created)

    @contextlib.contextmanager
    def existing(self, document: Document) -> Iterator[Document]:
        """Created for a while."""
        created = self.create(document)
        try:
            yield created
        finally:
            self._objects.delete_namespaced_custom_object(**_PLACE, name=created["metadata"]["name"])

    def get(self, name: str) -> Document:
        return cast(Document, self._objects.get_namespaced_custom_object(**_PLACE, name=name))

    def patch(self, name: str, changes: Document, *, subresource: str = "", **options: Any) -> Document:
        """A merge patch of the object or of a subresource."""
        ways = {
            "": self._objects.patch_namespaced_custom_object,
            "status": self._objects.patch_namespaced_custom_object_status,
            "scale": self._objects.patch_namespaced_custom_object_scale,
        }
        with _readable():
            patched = ways[subresource](
                **_PLACE, name=name, body=changes, _content_type="application/merge-patch+json", **options
            )
        return cast(Document, patched)

    def scale(self, name: str) -> Document:
        with _readable():
            found = self._objects.get_namespaced_custom_object_scale(**_PLACE, name=name)
        return cast(Document, found)

    def table(self) -> Document:
        """What kubectl prints, wide columns included."""
        answer = self.api.call_api(
            "GET",
            f"{self.api.configuration.host}/apis/{GROUP}/{VERSION}/namespaces/default/{PLURAL}",
            header_params={"Accept": "application/json;as=Table;v=v1;g=meta.k8s.io"},
        )
        table: Document = json.loads(answer.read())  # type: ignore[no-untyped-call]
        return table

    @staticmethod
    def _said(ask: Any) -> str:
        try:
            with _readable():
                ask()
        except Refused as e:
            return str(e)
        return ""


@contextlib.contextmanager
def _readable() -> Iterator[None]:
    try:
        yield
    except client.ApiException as e:
        try:
            message = json.loads(e.body or "")["message"]
        except (ValueError, KeyError):
            raise e from None
        raise Refused(message) from None
