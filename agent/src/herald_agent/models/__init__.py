"""The way to a language model: one port, and what stands behind it (Triton, OpenAI-compatible, scripted).

Nothing is imported here: the pure modules are used where no client library is (Triton's own model processes).
"""
