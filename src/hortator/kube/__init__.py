"""A Kubernetes API as a program sees it: transport, client, informer, work queue, manager, lease, events, streams.

It knows none of our nouns. Nothing is imported here, so that light users (``kube.blocking``) stay light.
"""
