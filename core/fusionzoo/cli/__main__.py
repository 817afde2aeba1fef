"""Run the command line as `python -m fusionzoo.cli`."""

from fusionzoo.cli import main

main()
