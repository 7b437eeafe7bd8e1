"""Pure builders: from a resource to what its parts are given. No I/O, no client library."""
