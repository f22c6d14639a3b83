"""A page inside the zip that Snakemake makes of its reports."""

import shutil
import subprocess
import sys
import zipfile

import pytest
from playwright.sync_api import expect

SNAKEFILE = """
rule page:
    input: "made"
    output: report(directory("page"), htmlindex="index.html", category="People")
    shell: "cp -r made page"
"""


SHEET_WIDTH = """async (thumb) => {
  const image = Object.assign(new Image(), { src: getComputedStyle(thumb).backgroundImage.slice(5, -2) });
  await image.decode();
  return image.naturalWidth;
}"""


@pytest.fixture(scope="module")
def report(people, tmp_path_factory):
    """The unpacked zip."""
    root = tmp_path_factory.mktemp("report")
    shutil.copytree(people[1], root / "made")
    (root / "Snakefile").write_text(SNAKEFILE)
    for arguments in (["--cores", "1"], ["--report", "report.zip"]):
        subprocess.run([sys.executable, "-m", "snakemake", "--quiet", "all", *arguments], cwd=root, check=True, capture_output=True)
    with zipfile.ZipFile(root / "report.zip") as archive:
        archive.extractall(root / "unpacked")
    return root / "unpacked"


def test_the_page_works_within_the_report(visit, report, people):
    tab = visit.context().new_page()
    tab.goto(next(report.rglob("report.html")).as_uri())
    tab.get_by_text("Results").click()
    tab.get_by_text("People").click()
    tab.locator("a[iconname=eye]").click()
    frame = tab.frame_locator("iframe")
    expect(frame.locator("#visible")).to_have_text("visible 300 of 300")
    frame.locator(".cell").first.click()
    tab.keyboard.press("k")
    tab.keyboard.press("x")
    expect(frame.locator("#progress")).to_contain_text("2 of 285 decided")
    with tab.expect_download() as download:
        frame.get_by_role("button", name="Export…").click()
        frame.get_by_role("button", name="Save decisions.csv").click()
    assert download.value.path().read_text().count("\n") == 3
    frame.get_by_role("button", name="Close").click()
    box = frame.locator(".plot").bounding_box()
    frame.locator(".plot").click(position={"x": box["width"] * 0.25, "y": 20})
    value = float(frame.get_by_role("slider").get_attribute("aria-valuenow"))
    assert value == pytest.approx(0.25, abs=0.02)
    expect(frame.locator(".change")).to_be_visible()
    shown = frame.locator(".cell .thumb").first.evaluate(SHEET_WIDTH)
    assert shown == 1600
    visit.complaints[:] = [text for text in visit.complaints if "tailwindcss.com" not in text]  # of the report around the page


def test_the_page_of_the_report_stands_alone_too(gallery, report, people):
    page = next(report.rglob("page.js")).parent
    seen = gallery(page)
    assert seen.counts() == {name: sum(row["outcome"] == name for row in people[0]) for name in ("kept", "removed", "errors")}
    assert {path.name for path in page.iterdir()} == {path.name for path in people[1].iterdir()}
