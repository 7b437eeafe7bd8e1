"""The tables of the truth, and the statements that change them: one statement per step, each in one function.

A step is one statement because a statement either happened or did not: no kill, timeout or lost connection
leaves half of one behind, and nobody has to remember to roll anything back.
"""
