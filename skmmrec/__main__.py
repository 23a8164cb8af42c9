"""Run the command line by ``python -m skmmrec``."""

from skmmrec.cli import main

main()
