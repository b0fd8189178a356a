"""Lines of the log where they cannot be written: real pipes, sockets, files."""

import fcntl
import json
import os
import socket
import threading
from pathlib import Path

import pytest

from service.lines import Lines
from service.logs import make_logger

PAGE = 4096  # the smallest pipe


@pytest.fixture
def pipe():
    """Its ends, the one to read and the one to write; it holds a page."""
    reader, writer = os.pipe()
    fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, PAGE)
    with os.fdopen(reader, "rb", buffering=0) as read_end, os.fdopen(writer, "w") as write_end:
        yield read_end, write_end


def fill(lines: Lines, line: bytes = b"x" * 99) -> None:
    """Write until the thread has to wait."""
    while lines._thread is None:
        lines.msg(line)


def finish(lines: Lines) -> None:
    """Until nothing waits, and what was lost is reported."""
    thread = lines._thread
    if thread is not None:
        thread.join(timeout=20)
        assert not thread.is_alive()


def test_line_is_written_at_once_and_no_thread_is_woken(pipe):
    """As long as somebody reads."""
    reader, writer = pipe
    lines = Lines(writer)
    for number in range(1000):
        lines.msg(b"%d" % number)
        assert reader.read(100) == b"%d\n" % number
    assert lines._thread is None


def test_pipe_that_nobody_reads_holds_nothing_up_and_loses_what_does_not_fit(pipe):
    """Then what was queued comes, whole and in order, and a line that counts the others."""
    dropped = []
    reader, writer = pipe
    lines = Lines(writer, max_lines=50)
    lines.on_dropped = dropped.append
    logger = make_logger("info", lines)
    for number in range(1000):
        logger.info("request", number=number)
    kept = 1000 - sum(dropped)
    assert 50 < kept < 50 + PAGE // 50 + 101
    read = []

    def drain() -> None:
        with open(reader.fileno(), closefd=False) as text:
            read.extend(map(json.loads, text))

    thread = threading.Thread(target=drain)
    thread.start()
    finish(lines)
    logger.info("after")
    finish(lines)
    writer.close()
    thread.join(timeout=20)
    numbers = [entry["number"] for entry in read[:kept]]
    assert numbers == sorted(set(numbers))
    assert numbers[:50] == list(range(50))
    assert [entry["event"] for entry in read[kept:]] == ["log_lines_dropped", "after"]
    assert read[kept]["lines"] == sum(dropped) == 1000 - kept


def test_line_longer_than_a_pipe_takes_at_once_is_for_the_thread(pipe):
    """It could wait in the middle."""
    reader, writer = pipe
    lines = Lines(writer)
    lines.msg(b"x" * 3 * PAGE)
    lines.msg(b"y")
    got = b""
    while not got.endswith(b"y\n"):
        got += reader.read(PAGE)
    assert got == b"x" * 3 * PAGE + b"\ny\n"


def test_stream_that_refuses_to_wait_loses_nothing():
    """A socket, say, that whoever started us made so; it may take a part of a line."""
    dropped = []
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    with ours, theirs, os.fdopen(ours.fileno(), "w", closefd=False) as stream:
        lines = Lines(stream, max_lines=10**6)
        lines.on_dropped = dropped.append
        sent = 0
        while lines._thread is None or sent < 100:
            lines.msg(b"%d" % sent)
            sent += 1
        with theirs.makefile("rb") as text:
            assert [int(text.readline()) for _ in range(sent)] == list(range(sent))
    assert sum(dropped) == 0


def test_line_for_a_reader_that_has_left_is_lost_and_counted(pipe):
    """Also what waited for it."""
    dropped = []
    reader, writer = pipe
    lines = Lines(writer)
    lines.on_dropped = dropped.append
    fill(lines)
    reader.close()
    finish(lines)
    assert sum(dropped) == 1
    lines.msg(b"another")
    assert sum(dropped) == 2


def test_full_disk_loses_lines_and_one_says_how_many_when_there_is_room(tmp_path, monkeypatch):
    """Nothing is raised."""
    dropped = []
    with (tmp_path / "log").open("w+") as file, Path("/dev/full").open("w") as full:
        lines = Lines(file)
        lines.on_dropped = dropped.append
        logger = make_logger("info", lines)
        monkeypatch.setattr(lines, "_raw", full.buffer.raw)
        for _ in range(3):
            logger.info("request")
        monkeypatch.undo()
        logger.info("request")
        file.seek(0)
        events = [json.loads(line) for line in file]
    assert [entry["event"] for entry in events] == ["request", "log_lines_dropped"]
    assert events[1]["lines"] == sum(dropped) == 3


def test_closed_stream_loses_lines(tmp_path):
    """Nothing is raised."""
    dropped = []
    with (tmp_path / "log").open("w") as file:
        lines = Lines(file)
        lines.on_dropped = dropped.append
    lines.msg("one")
    assert sum(dropped) == 1


def test_closing_waits_for_what_is_queued_but_not_for_ever(pipe):
    """A reader that reads gets everything; one that does not holds up the end for a moment."""
    reader, writer = pipe
    lines = Lines(writer)
    fill(lines)
    lines.close(timeout_s=0.01)
    assert lines._thread is not None
    got = reader.read(2 * PAGE)
    lines.close(timeout_s=20.0)
    assert lines._thread is None
    assert (got + reader.read(PAGE)).endswith(b"x\n")
