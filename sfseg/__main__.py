"""Run the command line with ``python -m sfseg``."""

from sfseg.cli import main

if __name__ == "__main__":
    main()
