"""The one timer, on a loop that does only what it is told."""

from service.http.sweep import Sweep


class FakeLoop:
    """An event loop with one timer."""

    def __init__(self) -> None:
        self.now_s = 100.0
        self.timers: list = []

    def time(self) -> float:
        """Seconds."""
        return self.now_s

    def call_later(self, delay_s, callback, *args) -> object:
        """Remember it."""
        self.timers.append((self.now_s + delay_s, callback, args))
        return object()

    def run_timer(self, late_s: float = 0.0) -> None:
        """Let it be time for the only timer, or later."""
        [(due_s, callback, args)] = self.timers
        self.timers.clear()
        self.now_s = due_s + late_s
        callback(*args)


def test_tick_is_a_twentieth_of_the_shortest_timeout():
    """And half a second at most."""
    assert Sweep(5.0, lambda _: True).tick_s == 0.25
    assert Sweep(60.0, lambda _: True).tick_s == 0.5


def test_clock_stands_still_while_the_process_does():
    """A tick that comes a minute late is one tick."""
    seen = []
    loop = FakeLoop()
    sweep = Sweep(20.0, lambda now_s: seen.append(now_s) or True)
    sweep.start(loop)
    for late_s in (0.0, 0.25, 60.0, 0.0):
        loop.run_timer(late_s)
    assert seen == [0.5, 1.25, 1.75, 2.25]


def test_timer_rests_while_there_is_nothing_to_check():
    """And there is never a second one."""
    loop = FakeLoop()
    busy = [True, False]
    sweep = Sweep(20.0, lambda _: busy.pop(0))
    sweep.start(loop)
    sweep.start(loop)
    loop.run_timer()
    loop.run_timer()
    assert not loop.timers
    sweep.start(loop)
    assert len(loop.timers) == 1
