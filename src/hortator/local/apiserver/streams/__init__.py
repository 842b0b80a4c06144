"""Conversations with containers: channels over WebSockets, SPDY, port-forward."""
