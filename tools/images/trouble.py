"""What keeps an image from being built, in words for whoever has to mend it."""


class Trouble(Exception):
    """`str()` says what is wrong, `hint` is the next command to type."""

    def __init__(self, what: str, hint: str) -> None:
        super().__init__(what)
        self.hint = hint

    def __str__(self) -> str:
        return f"{super().__str__()}\n  next: {self.hint}"
