"""Heed's own HTTP dialect: one router per file, no logic."""
