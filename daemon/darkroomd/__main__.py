"""`python -m darkroomd`: the same commands, for the interpreter at hand."""

from darkroomd.cli import main

main(prog_name="darkroomd")
