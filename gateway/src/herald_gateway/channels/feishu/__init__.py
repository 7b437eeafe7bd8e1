"""The Feishu (Lark) channel: events in by signed webhook, replies out as cards.

`create` in `channel` is the way in. Everything that decides (verify, parse, richtext, cut, render, outcome,
pace, cards) is pure; everything that talks (tokens, api, records, streaming, delivery) holds no rule of its own.
"""
