"""Verify a contract by running the script: what it reads, writes and reports, with damaged and missing inputs too."""
