"""One module per group of goals; each is a function from a Plan to what it measured."""
