"""Scoring with a model folder, without torch: `predictor.Predictor`, for records and pandas data frames."""
