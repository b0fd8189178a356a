"""Load tests for a running Heed service, over HTTP and nothing else of the project."""
