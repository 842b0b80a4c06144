"""The nouns: typed resources, their defaults, validation and the CRDs made from them.

Pure: no I/O, no asyncio.
"""
