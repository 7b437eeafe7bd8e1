"""Turns chat messages into the one text that a model reads, by the model's own Jinja template.

Two strangers meet here. The template comes out of a downloaded model file, so it is rendered in Jinja's
immutable sandbox, where it reaches nothing but the messages, and its output is bounded. The messages come from
chat users, who may write `<|im_end|>` to end their own turn and speak as the system: every control token of the
model that occurs in a message is broken by a space after its first character, which a tokenizer no longer takes
for the token, and a person still reads. (Models whose turns are marked by plain words, "User:", have nothing to
break; for them a user can always imitate a turn.)
"""

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path

from jinja2 import TemplateError, nodes
from jinja2.ext import Extension
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment

from herald_agent.models.ports import ChatMessage, ModelRefused
from herald_contracts.errors import ConfigurationError

# ChatML, which most small open models were trained on.
PLAIN = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
PLAIN_STOP = "<|im_end|>"

_MAX_SOURCE = 262_144
_MAX_PROMPT = 8 * 1024 * 1024
_FACTS = re.compile(r"\A\{#- herald (\{.*\}) -#\}\n")
# What control tokens look like in templates: <|x|>, <x>, </x>, [X], [/X], <<X>>.
_MARKUP = re.compile(r"<<?/?[^<>\s]{1,62}>>?|\[/?[A-Z_]{2,30}\]")
_PROBE = "probe of the system role"


@dataclass(frozen=True, slots=True)
class Facts:
    """What a template must know of its tokenizer: two tokens it may print, and all that users must not."""

    bos_token: str = ""
    eos_token: str = ""
    control: tuple[str, ...] = ()


def with_facts(source: str, facts: Facts) -> str:
    """A template file that carries its facts in a leading Jinja comment, so that one file is the whole."""
    line = json.dumps(asdict(facts), ensure_ascii=True).replace("#", "\\u0023")
    return f"{{#- herald {line} -#}}\n{source}"


def _split(text: str) -> tuple[Facts, str]:
    found = _FACTS.match(text)
    if found is None:
        return Facts(), text
    given = json.loads(found.group(1))
    facts = Facts(
        bos_token=str(given.get("bos_token", "")),
        eos_token=str(given.get("eos_token", "")),
        control=tuple(str(token) for token in given.get("control", ())),
    )
    return facts, text[found.end() :]


def broken(content: str, tokens: re.Pattern[str] | None) -> str:
    """The content with each control token split after its first character, until none is left."""
    while tokens is not None:
        content, count = tokens.subn(lambda found: f"{found.group()[0]} {found.group()[1:]}", content)
        if not count:
            break
    return content


def pattern_of(tokens: Iterable[str]) -> re.Pattern[str] | None:
    """One pattern that finds any of the tokens, the longest first; None where there are none.

    A token with white space at its start or behind its first character is left out: breaking it would make it
    again.
    """
    usable = {token for token in tokens if len(token) > 1 and not any(char.isspace() for char in token[:2])}
    if not usable:
        return None
    return re.compile("|".join(re.escape(token) for token in sorted(usable, key=lambda token: (-len(token), token))))


def alternating(messages: Sequence[ChatMessage]) -> list[ChatMessage]:
    """The same talk in the shape that every template takes: system first and once, then user and assistant in turn.

    Neighbours of one role are joined by an empty line; an answer before the first question is dropped.
    """
    system = "\n\n".join(message.content for message in messages if message.role == "system")
    talk: list[ChatMessage] = []
    for message in messages:
        if message.role == "system" or (not talk and message.role == "assistant"):
            continue
        if talk and talk[-1].role == message.role:
            talk[-1] = ChatMessage(message.role, f"{talk[-1].content}\n\n{message.content}")
        else:
            talk.append(message)
    return [ChatMessage("system", system), *talk] if system else talk


class ChatTemplate:
    """One compiled template. Rendering is pure but for the date that some templates ask for."""

    def __init__(self, source: str, facts: Facts) -> None:
        environment = _environment()
        tree = environment.parse(source)
        literals = [node.data for node in tree.find_all(nodes.TemplateData)]
        literals += [node.value for node in tree.find_all(nodes.Const) if isinstance(node.value, str)]
        markup = {token for literal in literals for token in _MARKUP.findall(literal)}
        self._tokens = pattern_of({*facts.control, *markup, facts.bos_token, facts.eos_token})
        self._template = environment.from_string(source)
        self._variables = {"bos_token": facts.bos_token, "eos_token": facts.eos_token}
        self.stop: tuple[str, ...] = ()
        """Texts at which the answer ends, where the server cannot know them."""
        self._takes_system = self._probe()

    @classmethod
    def load(cls, path: Path | None) -> "ChatTemplate":
        """The template of that file, or Herald's plain one. Raises ConfigurationError naming the file."""
        if path is None:
            plain = cls(PLAIN, Facts())
            plain.stop = (PLAIN_STOP,)
            return plain
        try:
            with path.open("rb") as file:
                data = file.read(_MAX_SOURCE + 1)
            return cls.compile(data.decode(), name=str(path))
        except OSError as e:
            raise ConfigurationError(f"cannot be read: {e.strerror or e}", path=str(path)) from None
        except UnicodeDecodeError:
            raise ConfigurationError("the chat template is not UTF-8 text", path=str(path)) from None

    @classmethod
    def compile(cls, text: str, *, name: str) -> "ChatTemplate":
        """Compile and try a template. Raises ConfigurationError where it does not work, `name` saying which."""
        try:
            if len(text) > _MAX_SOURCE:
                raise ValueError(f"it is longer than {_MAX_SOURCE} characters")
            facts, source = _split(text)
            return cls(source, facts)
        except (TemplateError, ModelRefused, ValueError, RecursionError) as e:
            raise ConfigurationError(
                f"the chat template does not work: {e}", path=name, hint="use another build of the model"
            ) from None

    def render(self, messages: Sequence[ChatMessage]) -> str:
        """The prompt, up to and with the start of the assistant's turn.

        Raises ModelRefused where the template refuses the messages or its output grows beyond all bounds.
        """
        safe = [ChatMessage(m.role, broken(m.content, self._tokens)) for m in alternating(messages)]
        if safe and safe[0].role == "system" and not self._takes_system:
            safe = alternating([ChatMessage("user", m.content) if m.role == "system" else m for m in safe])
        return self._rendered(safe)

    def _probe(self) -> bool:
        """Whether the template has a place for a system message. Raises ModelRefused where it takes no user either."""
        user = ChatMessage("user", "probe")
        try:
            return _PROBE in self._rendered([ChatMessage("system", _PROBE), user])
        except ModelRefused:
            self._rendered([user])
            return False

    def _rendered(self, messages: Sequence[ChatMessage]) -> str:
        pieces: list[str] = []
        size = 0
        try:
            for piece in self._template.generate(
                messages=[{"role": m.role, "content": m.content} for m in messages],
                add_generation_prompt=True,
                **self._variables,
            ):
                size += len(piece)
                if size > _MAX_PROMPT:
                    raise ModelRefused(f"the chat template made more than {_MAX_PROMPT} characters of the messages")
                pieces.append(piece)
        except (
            TemplateError,
            ArithmeticError,
            AttributeError,
            LookupError,
            TypeError,
            ValueError,
            RecursionError,
        ) as e:
            # What a template raises on data it was not written for; sandbox violations are TemplateErrors too.
            raise ModelRefused(f"the chat template refuses these messages: {e}") from None
        return "".join(pieces)


class _Generation(Extension):
    """`{% generation %}` marks the assistant's words for training; when rendering it is nothing but its body."""

    tags = {"generation"}  # noqa: RUF012 - Jinja's own declaration

    def parse(self, parser: Parser) -> list[nodes.Node]:
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


def _raise_exception(message: object) -> None:
    raise TemplateError(str(message))


def _to_json(value: object, indent: int | None = None) -> str:
    return json.dumps(value, ensure_ascii=False, indent=indent)


def _environment() -> ImmutableSandboxedEnvironment:
    """The names that chat templates expect: those of the `transformers` package (docs: "chat templating")."""
    # No HTML escaping: the output is a prompt, and what users write is broken token by token instead.
    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True,
        lstrip_blocks=True,
        autoescape=False,
        extensions=["jinja2.ext.loopcontrols", _Generation],
    )
    environment.globals["raise_exception"] = _raise_exception
    environment.globals["strftime_now"] = lambda layout: datetime.now().strftime(str(layout))
    environment.filters["tojson"] = _to_json
    return environment
