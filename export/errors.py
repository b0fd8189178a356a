"""What export refuses."""

from service.runtime.errors import HeedError


class ExportError(HeedError):
    """The exported graph does not hold what an artifact must; nothing was written."""
