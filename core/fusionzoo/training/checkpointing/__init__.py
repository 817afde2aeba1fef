"""Checkpoints: the last one, from which a job resumes, and those of the best validations."""
