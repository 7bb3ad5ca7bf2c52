"""`python -m pyflowctl`: the same as the installed script."""

import sys

from pyflowctl.thin import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
