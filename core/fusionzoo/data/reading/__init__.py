"""Read raw rows: a channel, its part files, one module per file format, and the values of a column as text.

- `channel`: open a channel and iterate over its rows. Start here.
- `formats`: the table of file formats. It is the only list of them.
- `delimited`, `parquet`, `json_lines`: how each format is read.
- `part_file`, `rows`, `blocks`: a file of a channel, a block of raw rows, and how rows are grouped into blocks.
- `canonical_text`: one text for a value that types and formats write differently.
- `plain_values`: lists of Python values as Arrow arrays.
- `number_text`: a float as a string.
- `column_text`: the values of a column as strings that are the same for every format.
"""
