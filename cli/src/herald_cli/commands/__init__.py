"""One module per subcommand, each with its `command`. They print; what they decide is decided elsewhere."""
