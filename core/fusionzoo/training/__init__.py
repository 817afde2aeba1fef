"""Training: `job.train` runs a whole job and is the place to start reading; `fit.fit` trains one model.

Folders: `checkpointing` (save and resume), `distributed` (several processes), `monitoring` (logs, progress, usage),
`guards` (divergence, convergence, memory), `frozen` (features of a frozen text encoder) and `warm_start` (weights of a
trained model).
"""
