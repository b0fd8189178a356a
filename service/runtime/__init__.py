"""Texts to probabilities, synchronous: no HTTP, no asyncio, no torch."""
