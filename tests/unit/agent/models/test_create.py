"""The settings name the model; what cannot work is refused before the first message."""

from pathlib import Path

import pytest

from herald_agent.models.create import create_model
from herald_contracts.errors import ConfigurationError
from herald_contracts.settings import Generation, OpenAiModel, TritonModel


@pytest.mark.parametrize(
    "settings",
    [TritonModel(url="127.0.0.1:9"), OpenAiModel(base_url="http://127.0.0.1:9/v1", model="m")],
)
async def test_a_model_is_made_without_its_server(settings: TritonModel | OpenAiModel) -> None:
    model = create_model(settings, Generation())
    assert not await model.ready()
    await model.close()


@pytest.mark.parametrize(
    ("settings", "why"),
    [
        (TritonModel(url="127.0.0.1:9", template=Path("/nowhere/chat.jinja")), "chat.jinja: cannot be read"),
        (OpenAiModel(base_url="http://127.0.0.1:9/v1", model="m", secret=Path("/nowhere")), "api-key"),
    ],
)
def test_settings_that_cannot_work_are_refused(settings: TritonModel | OpenAiModel, why: str) -> None:
    with pytest.raises(ConfigurationError, match=why):
        create_model(settings, Generation())
