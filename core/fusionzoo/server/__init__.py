"""The HTTP server of a model folder: `fusionzoo serve`. Needs the extra `serve`, and no torch."""
