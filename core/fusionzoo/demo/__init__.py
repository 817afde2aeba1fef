"""Data with a known best possible AUROC, for `fusionzoo demo`: messages and orders of a shop."""
