"""Side-by-side measurements of Herald: ratios to a peer that ran in the same minute on the same machine.

Milliseconds on a shared machine say little and age fast; "as much CPU as half of what the usual library needs"
stays true. So every goal is a ratio wherever a fair peer exists, rounds of both sides alternate, and what is
counted (lost, doubled) is counted from outside, by whoever sent and whoever received.
`make bench` runs all of it and writes RESULTS.md.
"""
