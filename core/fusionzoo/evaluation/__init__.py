"""The evaluation of a split: metrics, curves, calibration and plots, each computed once."""
