"""What architectures are built from."""
