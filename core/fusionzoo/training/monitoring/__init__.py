"""What a user sees while a model trains: log lines, a progress bar, TensorBoard scalars, and the usage of the run."""
