"""What Herald is measured against: each the usual way to do a part of its job, set up as its own documentation says."""
