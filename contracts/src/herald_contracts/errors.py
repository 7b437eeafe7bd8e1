"""One error root for all of Herald.

Whoever catches an error has one question: is it worth trying again? So each error says it, and one module
per service maps errors to HTTP answers, retries or dead letters; nothing else looks at exception types.
"""


class HeraldError(Exception):
    """Root of Herald's own errors. `retryable` says whether the same call may succeed later."""

    retryable: bool = False


class TemporaryError(HeraldError):
    """The other side is slow, full, absent or restarting; the same call may succeed later."""

    retryable = True


class PermanentError(HeraldError):
    """The same call can never succeed: the input, the configuration or a right is wrong."""


class ConfigurationError(PermanentError):
    """What the person wrote cannot work. `path` names the field, `hint` the fix."""

    def __init__(self, message: str, *, path: str = "", hint: str = "") -> None:
        super().__init__(message)
        self.path = path
        self.hint = hint

    def __str__(self) -> str:
        where = f"{self.path}: " if self.path else ""
        fix = f" ({self.hint})" if self.hint else ""
        return f"{where}{self.args[0]}{fix}"


class MalformedMessage(PermanentError):
    """Bytes that are not a message of a schema this version can read."""
