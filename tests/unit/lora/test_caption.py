"""lora 06: rows, texts, culls and what a person wrote; nothing is paid for twice, and no key is told."""

import hashlib
import runpy
from types import SimpleNamespace

import numpy as np
import pytest

from tests.lab.captions import CaptionServer, refuse, say
from tests.unit.lora.caption_data import Workspace
from workflow_scripts.core.accounting import AccountingError
from workflow_scripts.lora import by_hand, caption
from workflow_scripts.lora.tables import CAPTIONS

pytest.importorskip("openai")
OK = ("captioned", None)


@pytest.fixture
def server():
    with CaptionServer() as running:
        yield running


@pytest.fixture
def work(tmp_path, server, monkeypatch):
    made = Workspace(tmp_path, server, monkeypatch)
    made.machine["concurrency"] = 1
    return made


def name(work, number):
    return f"{work.rows[number]['category']}/{work.rows[number]['frame_id']}.txt"


def write_text(work, number, text):
    path = work.root / "05_training_data" / name(work, number)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text if isinstance(text, bytes) else text.encode())


def review(tmp_path, *decisions):
    path = tmp_path / "05_composite.csv"
    lines = [f"{sha256},some/path.jpg,{decision},{reason}" for sha256, decision, reason in decisions]
    path.write_text("\n".join(["sha256,path,decision,reason", *lines]))
    return (path,)


def test_every_composite_gets_a_row_and_a_text_file(work, server):
    server.answers += [say("A photo of a red Shirt."), say("blue jeans"), say("green coat"), say("hat")]
    counts = work.run()
    assert [row["frame_id"] for row in work.table()] == [row["frame_id"] for row in work.rows]
    assert [tuple(row) for row in work.table()] == [tuple(column for column, _ in CAPTIONS)] * 4
    first = work.table()[0]
    assert (first["caption"], first["text"], first["source"]) == ("a red shirt", "SKS Woman, a red shirt", "openai lab-model")
    assert first["text_path"] == f"05_training_data/{name(work, 0)}"
    assert (work.root / first["text_path"]).read_text() == "SKS Woman, a red shirt\n"
    assert first["file_sha256"] == work.rows[0]["file_sha256"]
    assert work.outcomes() == [OK] * 4
    assert counts == {
        "listed": 4, "captioned": 4, "lint": 0, "blocked": 0, "culled": 0, "error": 0, "by_people": 0, "known": 0,
        "requests": 4, "answered": 4, "retries": 0, "tokens_in": 400, "tokens_out": 80, "cost": 0.0016,
    }  # fmt: skip


def test_the_prompt_is_filled_in_and_the_subject_is_shown(work, server):
    work.run()
    assert [question.prompt for question in server.asked] == ["Describe this full_body.", "Describe this upper_body."] * 2
    assert len({question.image for question in server.asked}) == 4
    assert all(question.image.startswith(b"\xff\xd8") for question in server.asked)


def test_a_second_run_asks_nothing_and_gives_the_same_bytes_without_any_key(work, server, monkeypatch):
    work.run()
    before = work.output.read_bytes(), work.texts()
    monkeypatch.delenv("OPENAI_API_KEY")
    work.output.unlink()
    counts = work.run(base_url=None)
    assert (work.output.read_bytes(), work.texts()) == before
    assert (counts["known"], counts["requests"], len(server.asked)) == (4, 0, 4)
    assert (counts["tokens_in"], counts["cost"]) == (400, 0.0016), "what the captions cost, whenever they were paid for"


@pytest.mark.parametrize("changed", [{"trigger_words": "other"}, {"banned_words": ["red"]}, {"max_words": 1}, {"location": "europe-west4"}])
def test_what_only_texts_depend_on_pays_for_nothing(work, server, changed):
    work.run()
    work.run(**changed)
    assert len(server.asked) == 4


def test_other_trigger_words_write_the_texts_anew(work):
    work.run()
    captions = [row["caption"] for row in work.table()]
    work.run(trigger_words="NEW one")
    assert [row["text"] for row in work.table()] == [f"NEW one, {caption}" for caption in captions]
    assert {text.split(",")[0] for text in work.texts().values()} == {"NEW one"}
    assert work.outcomes() == [OK] * 4


def test_another_model_or_prompt_is_asked_anew_and_the_old_answers_stay(work, server):
    work.run()
    work.run(model="better")
    assert len(server.asked) == 8
    work.prompt.write_text("{{ category }}: what is it?")
    work.run()
    assert len(server.asked) == 12
    work.prompt.write_text("Describe this {{ category }}.\n")  # blanks round it are not sent
    work.run()
    work.run(model="better")
    assert len(server.asked) == 12
    assert len(work.kept()) == 12


def test_another_composite_is_paid_for_only_where_composites_are_shown(work, server):
    work.run()
    work.run(caption_on="composite")
    assert len(server.asked) == 8
    work.rows[0]["file_sha256"] = work.save_image(work.rows[0]["path"], np.full((50, 50, 3), 9, np.uint8))
    work.rows[1]["subject_sha256"] = work.save_image(work.rows[1]["subject_path"], np.full((50, 50, 4), 200, np.uint8))
    work.save()
    work.run()
    assert len(server.asked) == 8
    work.run(caption_on="composite")
    assert len(server.asked) == 9


def test_a_changed_rank_name_or_category_folder_loses_no_caption(work, server):
    work.prompt.write_text("Describe.")
    work.run()
    captions = {row["sha256"]: row["caption"] for row in work.table()}
    for row in work.rows:
        row["frame_id"] += "_renamed"
        row["category"] = "face_and_hair"
    work.rows.reverse()
    work.save()
    old = work.texts().keys()
    work.run()
    assert len(server.asked) == 4
    assert {row["sha256"]: row["caption"] for row in work.table()} == captions
    assert not work.texts().keys() & old, "texts of composites that are no more lie about"
    assert len(work.texts()) == 4


def test_the_same_frame_twice_is_asked_once(work, server):
    work.rows[2]["sha256"] = work.rows[0]["sha256"]
    work.save()
    counts = work.run()
    assert (len(server.asked), counts["captioned"], counts["tokens_in"]) == (3, 4, 300)
    assert work.table()[0]["caption"] == work.table()[2]["caption"]
    assert len(work.texts()) == 4


def test_culls_of_any_kind_are_rows_with_a_reason_and_are_not_asked(work, server, tmp_path, log_text):
    shas = [row["sha256"] for row in work.rows]
    work.rows[3] |= {"outcome": "culled", "reason": "culled by a person: as before"}
    work.save()
    reviews = review(tmp_path, (shas[0], "reject", "odd hand"), (shas[1], "keep", ""), (shas[2], "reject", ""), ("ab" * 32, "reject", ""))
    counts = work.run(culls=reviews)
    assert work.outcomes() == [
        ("culled", "culled by a person: odd hand"), OK, ("culled", "culled by a person"), ("culled", "culled by a person: as before"),
    ]  # fmt: skip
    assert (counts["listed"], counts["culled"], counts["captioned"], len(server.asked)) == (4, 3, 1, 1)
    assert "review: some/path.jpg (abab" in log_text()
    assert [row["caption"] is None for row in work.table()] == [True, False, True, True]
    assert list(work.texts()) == [name(work, 1)]


def test_a_cull_after_the_caption_takes_its_text_away_and_a_change_of_mind_costs_nothing(work, server, tmp_path):
    work.run()
    before = work.texts()
    culls = review(tmp_path, (work.rows[0]["sha256"], "reject", ""))
    work.run(culls=culls)
    assert work.texts().keys() == before.keys() - {name(work, 0)}
    work.run()
    assert work.texts() == before
    assert len(server.asked) == 4


def test_errors_of_earlier_steps_pass_on(work, server):
    work.rows[1] |= {"outcome": "error", "reason": "composite: no room", "sha256": None, "path": None}
    work.save()
    counts = work.run()
    assert work.outcomes()[1] == ("error", "composite: no room")
    assert (counts["error"], counts["captioned"], len(server.asked)) == (1, 3, 3)


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda path: path.unlink(), "read: No such file or directory"),
        (lambda path: path.write_bytes(path.read_bytes()[:80]), "decode: broken subject: "),
        (lambda path: path.write_bytes(b"no image"), "decode: broken subject: "),
    ],
)
def test_a_broken_subject_is_a_row_and_is_not_asked(work, server, damage, reason):
    damage(work.root / work.rows[2]["subject_path"])
    counts = work.run()
    assert work.outcomes()[2][0] == "error"
    assert work.outcomes()[2][1].startswith(reason)
    assert (counts["captioned"], len(server.asked), len(work.kept())) == (3, 3, 3)


def test_a_block_is_recorded_with_its_reason_and_not_paid_again(work, server):
    server.answers.append(say("", finish="content_filter"))
    counts = work.run()
    assert work.outcomes() == [("blocked", "blocked: content_filter"), OK, OK, OK]
    assert (counts["blocked"], counts["tokens_in"]) == (1, 400)
    assert work.table()[0]["text_path"] is None
    assert name(work, 0) not in work.texts()
    work.run()
    assert len(server.asked) == 4
    assert work.outcomes()[0] == ("blocked", "blocked: content_filter")


def test_a_block_whose_line_is_deleted_is_asked_again(work, server):
    server.answers.append(say("", finish="content_filter"))
    work.run()
    work.store.write_text("".join(line for line in work.store.read_text().splitlines(keepends=True) if "content_filter" not in line))
    assert work.run()["requests"] == 1
    assert work.outcomes() == [OK] * 4


def test_lint_names_everything_and_leaves_the_text_to_be_mended(work, server):
    server.answers += [say("a shirt before a Background"), say("very " * 25 + "background"), say("red shoes"), say("fine")]
    counts = work.run()
    assert work.outcomes() == [
        ("lint", "banned words: background"),
        ("lint", "banned words: background; too long: 26 words, at most 20"),
        OK,
        OK,
    ]
    assert (counts["lint"], counts["captioned"]) == (2, 2)
    assert work.texts()[name(work, 0)] == "SKS Woman, a shirt before a background\n"


def test_an_empty_caption_is_lint(work, server):
    server.answers.append(say("A photo of."))
    work.run()
    assert work.outcomes()[0] == ("lint", "empty")
    assert work.table()[0]["text"] == "SKS Woman"


def test_what_a_person_made_of_a_text_stays_and_counts(work, server):
    work.run()
    write_text(work, 0, "\ufeffSKS Woman, A Red shirt, „leaning“.\r\n")
    write_text(work, 1, "no trigger here, but a background\n")
    write_text(work, 2, b"latin \xe9")
    before = {number: (work.root / "05_training_data" / name(work, number)).read_bytes() for number in range(3)}
    counts = work.run()
    assert work.outcomes() == [
        OK,
        ("lint", "trigger words missing: SKS Woman; banned words: background"),
        ("lint", "the text file is no UTF-8; save it again as UTF-8"),
        OK,
    ]
    assert [row["source"] for row in work.table()] == ["a person"] * 3 + ["openai lab-model"]
    assert work.table()[0]["text"] == "SKS Woman, A Red shirt, „leaning“."
    assert work.table()[0]["caption"] == "A Red shirt, „leaning“."
    assert counts["by_people"] == 3
    work.run(trigger_words="other")
    assert {number: (work.root / "05_training_data" / name(work, number)).read_bytes() for number in range(3)} == before
    assert work.outcomes()[0] == ("lint", "trigger words missing: other")


def test_a_run_changes_nothing_of_what_people_are_known_to_have_done(work):
    work.run()
    write_text(work, 0, "SKS Woman, mine")
    write_text(work, 1, "SKS Woman, mine too")
    work.rows[1] |= {"outcome": "culled", "reason": "culled by a person"}
    work.save()
    before = by_hand.texts(work.root)
    assert before.keys() == {name(work, 0), name(work, 1)}
    for _ in range(2):
        work.run()
        assert by_hand.texts(work.root) == before
    assert work.texts()[name(work, 1)] == "SKS Woman, mine too"


def test_an_image_that_a_person_wrote_a_text_for_is_not_paid_for(work, server):
    write_text(work, 0, "SKS Woman, mine")
    counts = work.run()
    assert (counts["captioned"], counts["requests"], counts["tokens_in"]) == (4, 3, 300)
    assert work.texts()[name(work, 0)] == "SKS Woman, mine"
    server.answers.append(say("", finish="content_filter"))
    (work.root / "05_training_data" / name(work, 0)).unlink()
    assert work.run()["requests"] == 1
    assert work.outcomes()[0][0] == "blocked"
    write_text(work, 0, "SKS Woman, mine after all")
    work.run()
    assert work.outcomes()[0] == OK


def test_when_nobody_gets_a_caption_the_step_fails_and_leaves_no_table(work, server):
    server.always = refuse(400, error="as told")
    assert "none of 4 images got a caption: caption: 400 as told" in work.failed()
    assert not work.output.exists()


def test_when_all_subjects_are_broken_it_is_no_fault_of_the_service(work, server):
    for row in work.rows:
        (work.root / row["subject_path"]).write_bytes(b"no image")
    assert work.run()["error"] == 4
    assert not server.asked


def test_one_refused_image_fails_no_step_in_which_people_wrote_the_other_texts(work, server):
    for number in range(3):
        write_text(work, number, "SKS Woman, mine")
    server.always = refuse(400, error="as told")
    assert work.run()["error"] == 1
    assert work.outcomes()[3] == ("error", "caption: 400 as told")


def test_no_composites_make_an_empty_table(work, server, monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY")
    work.rows = []
    work.save()
    assert work.run(base_url=None)["listed"] == 0
    assert work.table() == []


def test_a_row_that_comes_twice_is_named(work):
    work.rows.append(work.rows[0])
    work.save()
    with pytest.raises(AccountingError, match="listed twice: v 0's_frame"):
        work.run()


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("{{ video }}", "'video' is undefined"),
        ("{{ category", "unexpected end"),
        (" \n", "is empty"),
        (None, "no such file; caption.prompt"),
        (b"\xff\xfe\xff", "cannot be read as UTF-8"),
    ],
)
def test_a_prompt_that_cannot_be_asked_is_named(work, server, text, problem):
    if text is None:
        work.prompt.unlink()
    else:
        work.prompt.write_bytes(text if isinstance(text, bytes) else text.encode())
    found = work.failed()
    assert problem in found
    assert "prompt.txt" in found
    assert not server.asked


def test_the_metadata_says_who_wrote_and_what_was_used_for_it(work):
    work.run()
    assert work.about() == {"author": "openai lab-model", "shown": 1, "tokens_in": 400, "tokens_out": 80}


@pytest.mark.parametrize("backend", ["openai", "vertex"])
def test_no_key_stands_in_any_file_or_message_even_when_the_service_repeats_it(work, server, backend, tmp_path, log_text):
    if backend == "vertex":
        pytest.importorskip("google.genai")
    work.settings["backend"] = backend
    secrets = server.secrets()
    repeated = " ".join(secret.decode() for secret in secrets[: 1 if backend == "openai" else 2][-1:])
    work.machine["attempts"] = 1
    server.answers += [say(f"shirt {repeated}"), refuse(400, error=f"for {repeated}"), refuse(500, error=f"for {repeated}")]
    work.run()
    server.answers.append(refuse(403, error=f"for {repeated}"))
    message = work.failed(model="other")
    assert "***" in message
    told = [message.encode(), log_text().encode()]
    told += [path.read_bytes() for path in (tmp_path / "project").rglob("*") if path.is_file()]
    told += [str(row).encode() for row in work.table()]  # the file is compressed
    assert any(b"***" in text for text in told[2:])
    for secret in secrets:
        assert not [text for text in told if secret in text]


def test_the_rule_calls_it_with_its_files_and_settings(work, server, tmp_path, in_a_step):
    names = ("attempts", "concurrency", "price_in", "price_out", "requests_per_minute", "timeout")
    culls = review(tmp_path, (work.rows[0]["sha256"], "reject", ""))
    job = SimpleNamespace(
        log=[str(tmp_path / "06.log")],
        input=SimpleNamespace(
            composites=str(work.root / "05_training_data/manifest.parquet"), reviews=[str(culls[0])], words=str(work.prompt), model=[]
        ),
        params=SimpleNamespace(
            root=str(work.root),
            store=str(work.store.parent),
            caption=work.settings,
            requests={key: work.machine[key] for key in names},
            machine={"cache_root": str(tmp_path / "cache"), "device": "cpu", "threads": 2},
        ),
        output=[str(work.output)],
    )
    runpy.run_path(caption.__file__, {"snakemake": job})
    assert [outcome for outcome, _ in work.outcomes()] == ["culled", "captioned", "captioned", "captioned"]
    assert len(work.kept()) == len(server.asked) == 3
    assert "listed=4 captioned=3 lint=0 blocked=0 culled=1 error=0" in (tmp_path / "06.log").read_text()


def test_pictures_are_asked_for_by_the_content_of_their_frame(work):
    work.run()
    assert {line["sha256"] for line in work.kept()} == {row["sha256"] for row in work.rows}
    assert {line["prompt"] for line in work.kept()} == {
        hashlib.sha256(f"Describe this {category}.".encode()).hexdigest() for category in ("full_body", "upper_body")
    }
