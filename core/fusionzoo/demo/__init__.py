"""Data with known best possible metrics, for `fusionzoo demo`: messages and orders of a shop."""
