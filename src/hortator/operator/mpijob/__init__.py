"""The MPIJob controller: observe (read the caches), plan (a pure function), status (a pure function), act (the loop)."""
