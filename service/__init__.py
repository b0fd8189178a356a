"""The part of Heed that runs in production: an artifact in, an HTTP endpoint out. No torch."""
