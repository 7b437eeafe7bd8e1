"""Makes the model that the settings name."""

from herald_agent.models.metering import MeteredModel
from herald_agent.models.openai import OpenAiBackend
from herald_agent.models.ports import Model
from herald_agent.models.streaming import StreamedModel
from herald_agent.models.triton import TritonBackend
from herald_contracts.settings import Generation, OpenAiModel, TritonModel


def create_model(settings: TritonModel | OpenAiModel, generation: Generation) -> Model:
    """A model ready to be asked; it connects at the first use. Raises ConfigurationError for settings that
    cannot work (a chat template that is absent or broken)."""
    match settings:
        case TritonModel():
            backend: TritonBackend | OpenAiBackend = TritonBackend(settings, generation)
        case OpenAiModel():
            backend = OpenAiBackend(settings, generation)
    return MeteredModel(StreamedModel(backend, generation), provider=settings.backend, name=settings.model)
