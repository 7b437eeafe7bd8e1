"""How each server that Herald stands on is started on one machine: descriptions, not actions.

`herald up` supervises them and the tests' fixtures use the same ones, so a recipe that works in a test is the
recipe that ships.
"""
