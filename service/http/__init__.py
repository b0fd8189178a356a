"""What surrounds the endpoints: limits, request ids, one log line a request, problem bodies."""
