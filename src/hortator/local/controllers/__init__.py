"""The built-in controllers that our jobs need."""
