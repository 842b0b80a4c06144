"""What makes the nouns true: a folder per noun. Runs on any Kubernetes API.

It never imports ``hortator.local``: the two meet over the Kubernetes API.
"""
