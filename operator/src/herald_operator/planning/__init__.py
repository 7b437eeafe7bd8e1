"""Pure decisions: from what is wanted and what is seen to what is to be done. No I/O, no clock, no randomness."""
