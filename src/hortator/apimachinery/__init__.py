"""What every Kubernetes API shares: metadata, quantities, selectors, field errors, patches, schemas.

Pure: no I/O, no asyncio. It knows no kind by name.
"""
