"""One folder or module per chat platform, all behind the port in `base`."""
