"""The bridge from training to serving: writes, checks and evaluates artifacts."""
