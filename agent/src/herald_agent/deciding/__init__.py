"""What a turn decides, without doing it: no clock, no network, no database, no asyncio in here.

So every decision is a function of its arguments, and its test is a table.
"""
