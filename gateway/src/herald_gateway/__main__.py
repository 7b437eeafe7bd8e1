"""`python -m herald_gateway --settings FILE`."""

import sys

from herald_gateway.main import main

sys.exit(main())
