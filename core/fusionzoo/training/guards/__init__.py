"""Guards stop a training or warn, and say what to change, if it diverges, learns nothing, or runs out of memory."""
