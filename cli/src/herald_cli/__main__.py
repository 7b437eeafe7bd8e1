"""`python -m herald_cli`, the same as `herald`."""

from herald_cli.main import main

main()
