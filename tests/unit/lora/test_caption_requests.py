"""Asking a service: how fast, how often again, when to stop; seen by the server's own record."""

import threading
import time

import pytest

from tests.lab.captions import Answer, CaptionServer, cut, hang_up, refuse, say
from tests.unit.lora.caption_data import Workspace
from workflow_scripts.lora import caption_requests
from workflow_scripts.lora.caption_authors import open_author
from workflow_scripts.lora.caption_requests import RateLimit
from workflow_scripts.lora.caption_view import Picture

pytest.importorskip("openai")
OK = ("captioned", None)
TROUBLE = [refuse(429, after="0.05"), refuse(500), hang_up(), cut(30), Answer(raw=b"{"), Answer(raw=b"nonsense"), refuse(503)]


@pytest.fixture
def server():
    with CaptionServer() as running:
        yield running


@pytest.fixture
def make(tmp_path, server, monkeypatch):
    """A workspace of so many frames, with other settings of the machine."""

    def workspace(frames, **machine):
        made = Workspace(tmp_path, server, monkeypatch, frames)
        made.machine |= machine
        return made

    return workspace


def test_whatever_passes_by_itself_is_tried_again_and_every_image_gets_its_caption(make, server):
    work = make(8, attempts=8)
    server.answers += TROUBLE
    counts = work.run()
    assert work.outcomes() == [OK] * 8
    assert (counts["captioned"], counts["answered"], counts["requests"], counts["retries"]) == (8, 8, 15, 7)
    assert len(server.asked) == 15
    assert len(work.kept()) == 8


def test_after_so_many_tries_the_row_says_why_and_the_others_go_on(make, server, log_text):
    work = make(3, attempts=3, concurrency=1)
    server.answers += [refuse(500, error="one"), refuse(500, error="two"), refuse(503, error="three")]
    counts = work.run()
    assert work.outcomes() == [("error", "caption: 503 three"), OK, OK]
    assert (counts["error"], counts["requests"]) == (1, 5)
    assert "1 images got no caption: caption: 503 three; --forcerun lora_06_caption" in log_text()
    assert work.run()["requests"] == 1, "the next run asks for what is missing, and for no more"
    assert work.outcomes() == [OK] * 3


def test_one_attempt_means_one(make, server):
    work = make(2, attempts=1, concurrency=1)
    server.answers.append(refuse(500))
    assert work.run()["requests"] == 2


def test_no_more_requests_at_a_time_than_allowed(make, server):
    work = make(9, concurrency=3)
    together = threading.Barrier(3, timeout=20)
    server.always = Answer(wait=together.wait)  # each waits for two others: with fewer at a time the test would break
    assert work.run()["captioned"] == 9
    assert server.most_at_once == 3


def test_requests_begin_no_faster_than_allowed_tries_included(make, server):
    work = make(6, concurrency=6, requests_per_minute=1200.0)
    server.answers += [refuse(500)] * 2
    start = time.monotonic()
    assert work.run()["requests"] == 8
    assert time.monotonic() - start > 7 * 0.05


def test_a_service_that_asks_to_be_left_alone_is_left_alone(make, server):
    work = make(1)
    server.answers.append(refuse(429, after="0.4"))
    work.run()
    assert server.asked[1].at - server.asked[0].at > 0.4


def test_all_threads_leave_it_alone_also_when_there_is_no_further_try(make, server):
    work = make(2, attempts=1, concurrency=1)
    server.answers.append(refuse(429, after="0.4"))
    work.run()
    assert work.outcomes() == [("error", "caption: 429 as told"), OK]
    assert server.asked[1].at - server.asked[0].at > 0.4


class Clock:
    """Time that passes when somebody waits, in place of the event that ends all waiting."""

    def __init__(self, monkeypatch):
        self.now = 1000.0
        self.events = {}  # what happens at a time
        monkeypatch.setattr(caption_requests, "monotonic", lambda: self.now)

    def wait(self, seconds):
        end = self.now + seconds
        for at in sorted(at for at in self.events if at <= end):
            self.now = max(self.now, at)
            self.events.pop(at)()
        self.now = end
        return False


def test_a_pause_holds_for_those_who_wait_already(monkeypatch):
    clock = Clock(monkeypatch)
    limit = RateLimit(60, clock)
    begun = []
    clock.events[1001.5] = lambda: limit.pause(10)
    clock.events[1002.0] = lambda: limit.pause(3)  # a shorter one does not end a longer one
    for _ in range(5):
        limit.wait()
        begun.append(clock.now - 1000)
    assert begun == [0, 1, 11.5, 12.5, 13.5]


def test_time_that_nobody_used_is_not_made_up_for(monkeypatch):
    clock = Clock(monkeypatch)
    limit = RateLimit(30, clock)
    limit.wait()
    clock.now += 60
    for wanted in (60, 62, 64):
        limit.wait()
        assert clock.now - 1000 == wanted


def test_tries_wait_longer_and_longer_up_to_a_bound(make, server, monkeypatch):
    work = make(1, attempts=7)
    waits = []
    monkeypatch.setattr(caption_requests, "BACKOFF", (1.0, 8.0))
    monkeypatch.setattr("tenacity.wait.random.uniform", lambda least, most: waits.append((least, most)) or 0.0)
    server.answers += [refuse(500)] * 6
    work.run()
    assert [most for _, most in waits] == [1, 2, 4, 8, 8, 8]
    assert {least for least, _ in waits} == {0}


def test_a_service_that_wants_hours_ends_the_step(make, server):
    work = make(30, concurrency=2)
    server.answers += [say("one"), refuse(429, after="3600")]
    assert "wants to be left alone for 3600 s" in work.failed()
    assert len(server.asked) <= 5
    assert not work.output.exists()


@pytest.mark.parametrize("status", [401, 403, 404])
def test_what_the_user_must_mend_ends_the_step_at_once_and_keeps_what_was_paid(make, server, status):
    work = make(40, concurrency=3)
    server.answers += [say("one"), say("two"), refuse(status, error="as told")]
    assert "as told" in work.failed()
    asked = len(server.asked)
    assert 3 <= asked <= 8, "images were burnt"
    kept = len(work.kept())
    assert kept >= 2
    assert not work.output.exists()
    assert work.run()["requests"] == 40 - kept


def test_replies_under_way_when_the_step_ends_are_kept(make, server):
    work = make(2, concurrency=2)
    failed = threading.Event()
    slow = Answer(wait=lambda: failed.wait(20))
    server.answers += [slow, Answer(status=401, wait=lambda: threading.Timer(0.2, failed.set).start())]
    work.failed()
    assert len(work.kept()) == 1


def test_who_stops_listening_ends_the_asking_and_loses_no_reply(make, server):
    work = make(30, concurrency=2)
    with open_author(work.settings, work.machine, work.store, work.prompt, None) as author:
        found = author.describe([Picture.of(row, work.root, "subject") for row in work.rows])
        next(found)
        found.close()
        asked = len(server.asked)
        assert asked < 15
        assert len(work.kept()) == asked
    time.sleep(0.1)
    assert len(server.asked) == asked


def test_a_service_that_answers_nobody_is_not_asked_for_every_image(make, server):
    work = make(40, concurrency=2, attempts=2)
    server.always = refuse(503, error="down")
    assert "10 images in a row got no caption: 503 down" in work.failed()
    assert 20 <= len(server.asked) <= 24


def test_a_service_that_goes_down_in_the_middle_ends_the_step(make, server):
    work = make(40, concurrency=2, attempts=2)
    server.answers += [say("fine")] * 5
    server.always = hang_up()
    assert "10 images in a row" in work.failed()
    assert len(work.kept()) == 5


def test_now_and_then_a_failure_does_not_end_the_step(make, server):
    work = make(24, concurrency=1, attempts=1)
    server.answers += [refuse(500), say("fine")] * 12
    counts = work.run()
    assert (counts["captioned"], counts["error"]) == (12, 12)


def test_a_request_that_no_image_passes_with_ends_the_step(make, server):
    work = make(40, concurrency=1)
    server.always = refuse(400, error="no such parameter")
    assert "no such parameter" in work.failed()
    assert len(server.asked) == 10


def test_images_that_are_refused_do_not_end_a_step_that_works(make, server):
    work = make(14, concurrency=1)
    server.answers += [say("fine")] + [refuse(400, error="too small")] * 13
    assert work.run()["error"] == 13
    server.always = refuse(400, error="too small")
    counts = work.run()
    assert (counts["captioned"], counts["error"], counts["requests"]) == (1, 13, 13)
    assert work.outcomes().count(("error", "caption: 400 too small")) == 13
