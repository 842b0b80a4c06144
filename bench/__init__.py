"""Measurements of what the documentation claims; see ``__main__``."""
