"""Training in several processes: who they are, how they communicate, and what happens when one of them dies."""
