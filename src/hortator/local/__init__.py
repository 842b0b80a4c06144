"""A whole small cluster in one process: API server, controllers, scheduler and nodes whose pods are processes.

It knows none of our nouns and never imports ``hortator.operator``.
"""
