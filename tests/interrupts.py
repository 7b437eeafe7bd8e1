"""Ctrl-C for processes that a test starts: a shell starts what it puts in the background with SIGINT ignored, and the
tests may be such a thing, and a child takes that over.
"""

import signal


def hear_ctrl_c() -> None:
    """For `preexec_fn`."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
