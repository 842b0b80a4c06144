"""The ``hort`` command: thin; composes the rest."""
