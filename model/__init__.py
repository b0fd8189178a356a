"""Training: labelled texts in, a run directory with a checkpoint out."""
