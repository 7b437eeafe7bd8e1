"""Files that are written by a program and read by people: `make gen` writes them, `make check` compares."""
