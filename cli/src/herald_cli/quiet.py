"""Keeps the libraries quiet in a command: what matters to a person is printed by the command itself.

A service logs to standard output; in a command that is where the answer goes, and a script reads it.
"""

import logging

import structlog


def hush() -> None:
    """From now on nothing is logged in this process."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    logging.disable(logging.CRITICAL)
