"""`python -m fusionzoo.cli` is `fusionzoo`."""

from fusionzoo.cli import app

app(prog_name="fusionzoo")
