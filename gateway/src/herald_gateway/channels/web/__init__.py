"""The web chat: a page, its session, and its transcript.

The page is a view of two streams: what it sends goes the way of every webhook, and what it shows is read back
from stream WEB, so that a reload, a second tab or a restart of any part shows the same conversation.
"""
