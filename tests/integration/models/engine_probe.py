"""Runs the chat model's engine in a process of its own (llama.cpp takes over signal handlers) and tells what it saw.

Prints one JSON object; see `test_chat_engine`.
"""

import importlib.util
import json
import sys
import threading
from pathlib import Path
from typing import Any

_ENGINE = Path(__file__).parents[3] / "inference" / "local" / "tensorrt_llm" / "1" / "engine.py"


def load() -> Any:
    """The engine's module; it is no package's, as Triton loads it from its folder."""
    spec = importlib.util.spec_from_file_location("engine", _ENGINE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["engine"] = module
    spec.loader.exec_module(module)
    return module


def main(gguf: str) -> dict[str, Any]:
    engine = load()
    settings = {"HERALD_CHAT_GGUF": gguf, "HERALD_CHAT_SLOTS": "1", "HERALD_CHAT_CONTEXT": "1024"}
    running = engine.Engine(engine.Settings.of(settings))
    prompt = "<|im_start|>user\nSay hello.<|im_end|>\n<|im_start|>assistant\n"

    def generate(stopped: Any = lambda: False, **request: Any) -> tuple[Any, list[str]]:
        shown: list[str] = []
        answer = running.generate({"prompt": prompt, "temperature": 0.0, **request}, shown.append, stopped)
        return answer, shown

    seen: dict[str, Any] = {}
    answer, shown = generate(max_tokens=8)
    seen["answer"] = [answer.text, answer.finish, answer.input_tokens, answer.output_tokens]
    seen["shown"] = shown

    # Characters that take several tokens each, forced by a grammar.
    answer, shown = generate(max_tokens=60, grammar='root ::= "é😀👍🏽日本語"')
    seen["characters"] = [answer.text, answer.finish, shown]
    answer, shown = generate(max_tokens=3, grammar='root ::= "😀👍🏽日本語"')
    seen["cut"] = [answer.text, answer.finish, shown]

    words = 0

    def after_five() -> bool:
        nonlocal words
        words += 1
        return words >= 5

    answer, shown = generate(max_tokens=900, stopped=after_five, grammar='root ::= "x " root')
    seen["stopped"] = [answer.finish, len(shown)]
    # With one slot, this waits for ever unless the stopped answer has let go of it.
    answer, _ = generate(max_tokens=4)
    seen["after stopped"] = answer.finish

    gone = threading.Event()
    gone.set()
    answer, shown = generate(max_tokens=4, prompt="word " * 900, stopped=gone.is_set)
    seen["stopped while reading"] = [answer.finish, shown]

    seen["errors"] = {}
    for name, request in {
        "too long": {"prompt": "word " * 3_000},
        "bad": {"temperature": "hot"},
    }.items():
        try:
            generate(max_tokens=4, **request)
        except engine.EngineError as e:
            seen["errors"][name] = [type(e).__name__, str(e)]

    def lost(_: str) -> None:
        raise LookupError("the connection is gone")

    try:
        running.generate({"prompt": prompt, "max_tokens": 100}, lost, lambda: False)
    except LookupError as e:
        seen["errors"]["lost"] = [type(e).__name__, str(e)]
    answer, _ = generate(max_tokens=4)
    seen["after errors"] = answer.finish
    return seen


if __name__ == "__main__":
    sys.stdout.write(json.dumps(main(sys.argv[1])))
