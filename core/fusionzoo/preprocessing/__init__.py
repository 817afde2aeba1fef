"""Split raw rows into the channels of a training job, for preprocess.py. Start at `preprocess_job`."""
