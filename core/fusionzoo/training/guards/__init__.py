"""Guards stop a training or warn, with a fix, if it diverges, learns nothing, or runs out of memory."""
