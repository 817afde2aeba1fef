"""Training in several processes: ranks, communication, and the detection of dead processes."""
