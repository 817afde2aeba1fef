"""What a model is worth on a split: figures, curves, calibration and plots, each computed once."""
