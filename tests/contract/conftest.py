"""One run and its artifacts."""

from tests.fixtures import (  # noqa: F401  pytest finds them here
    checkpoint,
    fp32,
    int8,
    one_thread,
    predictor,
    trained_run,
)
