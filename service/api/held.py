"""An answer whose bytes are counted until its connection has it."""

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from service.answers import Answers


class HeldResponse(Response):
    """JSON that is counted until its connection has it."""

    media_type = "application/json"

    def __init__(self, content: bytes, answers: Answers, held: int) -> None:
        """Release `held` bytes of `answers` in the end."""
        super().__init__(content)
        self._answers = answers
        self._held = held

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it."""
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._answers.release(self._held)
