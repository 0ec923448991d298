"""`python -m jaxunreg`, for machines where the command `jaxunreg` is not on the path."""

import sys

from jaxunreg.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
