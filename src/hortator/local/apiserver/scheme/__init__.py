"""The scheme: one table of facts about the built-in kinds, and what follows from it.

The table is made by ``tools/make_scheme.py`` from the published API. Routing, discovery, OpenAPI, decoding
of JSON and protobuf bodies, strategic merge and apply read it; what a kind means beyond its fields is left
to its strategy.
"""

from hortator.local.apiserver.scheme.decode import DecodeError
from hortator.local.apiserver.scheme.kinds import Kind, Subresource
from hortator.local.apiserver.scheme.table import Scheme, load_scheme

__all__ = ["DecodeError", "Kind", "Scheme", "Subresource", "load_scheme"]
