"""A run folder: its layout, training into it, loading it back."""
