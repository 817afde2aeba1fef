"""The table of a row: category columns to ids (`categories`) and number columns to standardized values (`numbers`)."""
