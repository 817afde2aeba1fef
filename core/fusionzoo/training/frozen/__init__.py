"""A frozen text encoder runs once per row: its features are stored, and the rest of the model trains on them."""
