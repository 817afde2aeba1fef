"""Read raw rows: a channel, its part files, one module per file format, and the values of a column as text.

- `channel`: open a channel and iterate over its rows. Start here.
- `options`, `limits`: how files are read, and how large they may be.
- `listing`, `folder_walk`, `file_type`, `partitions`: which part files a channel has, their formats, and the columns
  that the names of folders give.
- `formats`: the table of file formats. It is the only list of them.
- `delimited`, `quoting`, `delimited_advice`: CSV and TSV.
- `json_lines`, `json_array`, `json_objects`: JSON. `parquet`, `parquet_sizes`: Parquet.
- `temporary_copy`: copies of inputs that are read more than once.
- `temporary_copy`: copies of streams and compressed files, which are read more than once.
- `part_file`, `rows`, `blocks`: a file of a channel, a block of raw rows, and how rows are grouped into blocks.
- `canonical_text`: one text for a value that types and formats write differently.
- `plain_values`: lists of Python values as Arrow arrays. `extension_types`: extension types of Arrow in plain types.
- `number_text`: a float as a string.
- `column_text`: the values of a column as strings that are the same for every format.
- `value_kinds`, `invalid_bytes`: what messages call values, and where a file is not UTF-8.
"""
