"""The command line: plugins; preprocess, train, predict, evaluate, package and serve; the demo; contracts.

Commands draw tables on a terminal, write plain text to a pipe, and print one JSON document with `--json`. The exit
status is 0 on success, 1 if a problem was found or the command failed, 2 if the command line itself is wrong, and 141
if the reader of standard output has ended.
"""

from __future__ import annotations

__all__ = ["main"]


def main() -> None:
    """Run the command that the arguments of this process name, and exit with its status."""
    from fusionzoo.cli.first_process import end_on_sigterm

    end_on_sigterm()
    from fusionzoo.cli.commands import app
    from fusionzoo.cli.standard_output import exit_if_unwritable
    from fusionzoo.process_exit import limit_exit_time

    with limit_exit_time(), exit_if_unwritable():
        app(prog_name="fusionzoo")
