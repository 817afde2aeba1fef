"""The static validator: constant propagation over the syntax trees of a script and of the modules that it imports.

`script_validation.validate_file` is the entry. The modules, from the bottom to the top: `text`, `atoms`, `values` and
`heap` (abstract values), `machine` (the state), `expressions`, `statements` and `calls` (the language), `models` (the
libraries), `uses` (what is read and written), `judgment` (the contract).
"""
