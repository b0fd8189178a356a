"""One run."""

from tests.fixtures import one_thread, trained_run  # noqa: F401  pytest finds them here
