"""predict 06: what the report says beside its rows."""

from collections import Counter

from tests.unit.predict.report_data import CLIP, MODELS
from workflow_scripts.predict.report_items import Found
from workflow_scripts.predict.report_panels import notes, panels, warnings

RUN = {"project_id": "p", "reviews": "reviews/predict/p/groups.csv"}
ABOUT = {"status": "success", "error": "", "skipped": {}, "models": MODELS, "model": CLIP}
BROKEN = {"status": "failed", "error": "p.zip: damaged; copy it again", "skipped": {}}


def test_a_project_that_failed_says_why_and_nothing_else():
    assert warnings(BROKEN, "p.zip: damaged; copy it again") == [
        "This project could not be processed: p.zip: damaged; copy it again. The page is empty until a later run can read it."
    ]
    assert notes(RUN, BROKEN) == []
    assert panels(Found()) == []


def test_originals_that_cannot_be_reached_are_a_warning():
    assert warnings(ABOUT, "") == []
    (said,) = warnings(ABOUT, "p.zip: no such file")
    assert said.startswith("The originals cannot be reached: p.zip: no such file. Pictures come from the cache alone")


def test_notes_say_what_decisions_mean_what_was_left_out_and_which_models_chose():
    choices, earlier, models = notes(RUN, ABOUT)
    assert "Split: a new group starts with the outlined picture" in choices
    assert earlier.startswith("Where reviews/predict/p/groups.csv exists already, import it before you export")
    assert models == (
        "Chosen by ranker_v4.pt (abababababab), cropped by crop_proposer.pt (cdcdcdcdcdcd), from embeddings of ViT-B-32-quickgelu."
    )
    assert notes(RUN, ABOUT | {"skipped": {".txt": 1200, "__MACOSX": 3}})[2] == "Files that are no images: .txt 1,200, __MACOSX 3."


def test_panels_say_which_stage_wins_how_clear_it_was_and_what_crops_needed():
    found = Found(
        margins=[number / 100 for number in range(1, 201)],
        stages=Counter({"stage 3": 1500, "stage 1": 2000, "no stage": 1}),
        chosen=Counter({"stage 3": 1200, "stage 1": 300, "no stage": 1}),
        repairs=Counter({"swapped x": 2, "clamped y": 1000}),
        repaired=1001,
        crops=1499,
    )
    stages, margins, crops = panels(found)
    assert stages.header == ("stage", "groups that have it", "chosen", "share")
    assert stages.rows == (("no stage", "1", "1", "100.0%"), ("stage 1", "2,000", "300", "15.0%"), ("stage 3", "1,500", "1,200", "80.0%"))
    assert margins.rows == (("1%", "0.020"), ("5%", "0.100"), ("10%", "0.200"), ("25%", "0.500"), ("50%", "1.000"), ("75%", "1.500"))
    assert crops.text == (
        "Crops: 1,499; of these repaired: 1,001.",
        "Chosen images without a crop: 2; their reason says why (tag: no crop).",
    )
    assert crops.rows == (("clamped y", "1,000"), ("swapped x", "2"))


def test_without_margins_or_repairs_there_is_no_empty_table():
    found = Found(stages=Counter({"no stage": 2}), chosen=Counter({"no stage": 2}), crops=2)
    assert [panel.title for panel in panels(found)] == ["Which stage is chosen", "Crops and their repairs"]
    assert (panels(found)[1].header, panels(found)[1].rows) == ((), ())
    assert panels(found)[1].text == ("Crops: 2; of these repaired: 0.",)
