"""The store of paid captions: what was written is found, whatever happened to the file."""

import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from workflow_scripts.core.step import StepError
from workflow_scripts.lora.caption_backends import Reply
from workflow_scripts.lora.caption_store import Question, open_store

REPO = Path(__file__).parents[3]


def question(number=1, **changed):
    return Question(**{"sha256": f"{number:064x}", "composite": "", "model": "openai m", "prompt": "ab" * 32, "shown": 1} | changed)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "store" / "captions.jsonl"


def test_replies_are_found_again_by_the_next_process(path):
    replies = {question(1): Reply("Ein „Hemd“\nrot\u2028\x85", 10, 5), question(2): Reply("", 7, 0, "blocked: SAFETY")}
    with open_store(path) as store:
        for each, reply in replies.items():
            store.add(each, reply)
            assert store.get(each) == reply
    with open_store(path) as store:
        assert len(store) == 2
        assert {each: store.get(each) for each in replies} == replies
        assert store.get(question(3)) is None


@pytest.mark.parametrize("changed", [{"sha256": "x"}, {"composite": "x"}, {"model": "x"}, {"prompt": "x"}, {"shown": 2}])
def test_another_question_has_another_reply(path, changed):
    with open_store(path) as store:
        store.add(question(), Reply("one"))
        assert store.get(question(**changed)) is None
        store.add(question(**changed), Reply("two"))
        assert [store.get(question()).text, store.get(question(**changed)).text] == ["one", "two"]


def test_a_line_stands_on_the_disk_when_add_returns(path, monkeypatch):
    brought = []
    monkeypatch.setattr(os, "fsync", lambda descriptor: brought.append(os.fstat(descriptor).st_size))
    with open_store(path) as store:
        store.add(question(), Reply("one", 3, 2))
        assert brought == [path.stat().st_size]
        (line,) = path.read_text().splitlines()
        assert json.loads(line) == {
            "sha256": f"{1:064x}", "composite": "", "model": "openai m", "prompt": "ab" * 32, "shown": 1,
            "text": "one", "tokens_in": 3, "tokens_out": 2, "blocked": "",
        }  # fmt: skip


@pytest.mark.parametrize("cut", [1, 2, 30, 150])
def test_a_line_that_a_kill_cut_off_costs_itself_alone(path, cut):
    with open_store(path) as store:
        store.add(question(1), Reply("one"))
        store.add(question(2), Reply("two"))
    data = path.read_bytes()
    path.write_bytes(data[:-cut])
    whole = cut == 1  # the line is there, its end is not
    with open_store(path) as store:
        assert store.get(question(1)) == Reply("one")
        assert store.get(question(2)) == (Reply("two") if whole else None)
        store.add(question(3), Reply("three"))
        store.add(question(4), Reply("four"))
    with open_store(path) as store:
        assert [store.get(question(number)) for number in (1, 3, 4)] == [Reply("one"), Reply("three"), Reply("four")]
    assert path.read_bytes().startswith(data[:-cut])
    assert path.read_bytes().count(b"\n") == 4


def test_lines_that_say_something_else_are_left_alone(path):
    path.parent.mkdir()
    path.write_bytes(b'5\n[]\n{"sha256": "x"}\n\xff\xfe\n\nnull\n')
    before = path.read_bytes()
    with open_store(path) as store:
        assert len(store) == 0
        store.add(question(), Reply("one"))
    assert path.read_bytes().startswith(before)
    with open_store(path) as store:
        assert store.get(question()) == Reply("one")


def test_a_deleted_line_is_asked_again_and_the_last_line_counts(path):
    with open_store(path) as store:
        store.add(question(1), Reply("one"))
        store.add(question(2), Reply("", blocked="SAFETY"))
        store.add(question(1), Reply("better"))
    with open_store(path) as store:
        assert store.get(question(1)) == Reply("better")
    path.write_text("".join(line for line in path.read_text().splitlines(keepends=True) if "SAFETY" not in line))
    with open_store(path) as store:
        assert store.get(question(2)) is None


def test_threads_write_whole_lines(path):
    with open_store(path) as store, ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda number: store.add(question(number), Reply("x" * 5000)), range(200)))
    assert len({json.loads(line)["sha256"] for line in path.read_text().splitlines()}) == 200


def test_a_second_process_is_refused_until_the_first_has_ended(path):
    code = (
        "import sys; from pathlib import Path; from workflow_scripts.lora.caption_store import open_store\n"
        f"with open_store(Path({str(path)!r})): print('open', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen([sys.executable, "-c", code], cwd=REPO, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout.readline() == "open\n"
        with pytest.raises(StepError, match=r"captions\.jsonl: another process is asking"), open_store(path):
            pass
        other.kill()
        other.wait()
    with open_store(path) as store:
        store.add(question(), Reply("one"))
