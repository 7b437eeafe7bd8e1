"""The one error that a person sees: what went wrong, and the next command to type."""


class Trouble(Exception):
    """`hint` is a whole line of advice; empty when there is none."""

    def __init__(self, text: str, hint: str = "") -> None:
        super().__init__(f"{text}\n  {hint}" if hint else text)
