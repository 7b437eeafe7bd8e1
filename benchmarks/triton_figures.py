"""What P9's client process hands back; apart from it, because its reader must not load gRPC before a fork."""

from dataclasses import dataclass

TOKENS, TOKEN_SECONDS = 50, 0.008
STREAMS = 32
CLIENTS = 32


@dataclass(frozen=True, slots=True)
class Round:
    """Milliseconds, and requests per second."""

    overhead: float
    overhead_p99: float
    between_one: float
    between: float
    first: float
    cancels: tuple[float, ...]
    unbatched: float
    batched: float
