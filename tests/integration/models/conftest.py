"""One fixture: each of the three places in turn."""

from collections.abc import AsyncIterator

import pytest

from tests.integration.models import subjects


@pytest.fixture(params=subjects.NAMES)
async def subject(request: pytest.FixtureRequest) -> AsyncIterator[subjects.Subject]:
    match request.param:
        case "scripted":
            yield subjects.InProcess()
        case "triton":
            in_triton = subjects.InTriton(request.getfixturevalue("triton").grpc)
            yield in_triton
            await in_triton.close()
        case "openai":
            async with subjects.behind_http() as behind_http:
                yield behind_http
