"""Rules that complete or refuse a write between authorization and storage."""
