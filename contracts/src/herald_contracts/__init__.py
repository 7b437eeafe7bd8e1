"""Herald's shared words: what travels between its processes, and what people write to configure it.

Every other package imports this one; it imports pydantic and nothing else, so that a reader finds the
whole vocabulary in one place and no client library comes along with it.
"""
