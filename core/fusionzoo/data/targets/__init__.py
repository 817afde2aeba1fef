"""Targets: how the columns to predict are read, encoded and restored. One module for each kind of target."""
