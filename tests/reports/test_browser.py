"""The golden pages in a real browser: what people see, and what is printed for them.

Pictures and PDFs are left in tests/reports/out, to be looked at. Needs Debian's chromium-headless-shell (or chromium)
and, for the Chinese ones, a font that has Chinese (fonts-wqy-microhei).
"""

import json
import os
import re
import struct
import subprocess
from html import unescape
from pathlib import Path

import pytest
from typer.testing import CliRunner

from gateway.cli.main import app
from gateway.config.service_level import ServiceTerms
from gateway.reports.pdf import PdfError, find_browser, pdf, screenshot
from gateway.servicelevel.book import Writer
from gateway.servicelevel.records import Records
from tests.house.conftest import CONFIGURATION

GOLDEN = Path(__file__).parent / "golden"
ARTEFACTS = Path(__file__).parent / "out"
WIDTH, HEIGHT = 1100, 3400

# A browser starts up to five times, some seconds each where others use the machine.
pytestmark = pytest.mark.timeout(400)


@pytest.fixture(scope="module")
def browser() -> str:
    try:
        return find_browser()
    except PdfError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def chinese(browser) -> str:
    """A browser with a Chinese font: without one, every letter is the same empty box."""
    one, other = (screenshot(f"<meta charset=utf-8><h1>{letter}", browser, (90, 90)) for letter in "达标")
    if one == other:
        pytest.skip("no font has Chinese letters (package fonts-wqy-microhei)")
    return browser


# What a reader would see: is anything cut off, are missed lines marked, is every chart there and drawn.
LOOK = """<script>
const all = (what) => [...document.querySelectorAll(what)];
const box = (one) => one.getBoundingClientRect();
document.title = "seen" + JSON.stringify({
  wide: document.documentElement.scrollWidth,
  missed: all("tr.missed td:first-child").map((cell) => getComputedStyle(cell).backgroundColor),
  charts: all("svg").map((chart) => Math.round(box(chart).width)),
  flat: all("svg rect").filter((bar) => box(bar).width <= 0 || box(bar).height <= 0).length,
})</script>"""


def looked_at(html: str, browser: str, folder: Path) -> dict:
    """Return what the browser says of a page that it has laid out."""
    page = folder / "page.html"
    page.write_text(html.replace("</body>", f"{LOOK}</body>"), encoding="utf-8")
    sandbox = ("--no-sandbox",) if os.geteuid() == 0 else ()
    options = ("--headless", "--disable-gpu", "--disable-dev-shm-usage", *sandbox)
    window = (f"--user-data-dir={folder}/profile", "--window-size=1100,3400")
    command = [browser, *options, *window, "--dump-dom", page.as_uri()]
    done = subprocess.run(command, capture_output=True, timeout=150, check=True, text=True)
    return json.loads(unescape(re.search(r"<title>seen(.*?)</title>", done.stdout)[1]))


def seen(language: str, browser: str, folder: Path) -> None:
    html = (GOLDEN / f"report.{language}.html").read_text(encoding="utf-8")
    ARTEFACTS.mkdir(exist_ok=True)
    picture = screenshot(html, browser, (WIDTH, HEIGHT))
    (ARTEFACTS / f"report.{language}.png").write_bytes(picture)
    assert struct.unpack(">II", picture[16:24]) == (WIDTH, HEIGHT)
    found = looked_at(html, browser, folder)
    assert found["wide"] <= WIDTH, "the page scrolls sideways"
    assert found["missed"] == ["rgb(255, 235, 233)"] * 4
    assert len(found["charts"]) == 3
    assert min(found["charts"]) > 900
    assert found["flat"] == 0, "a bar that nobody can see"
    printed = pdf(html, browser)
    (ARTEFACTS / f"report.{language}.pdf").write_bytes(printed)
    assert printed.startswith(b"%PDF-")
    assert 2 <= len(re.findall(rb"/Type /Page\b", printed)) <= 6


def test_the_english_report_in_a_browser_and_on_paper(browser, tmp_path):
    seen("en", browser, tmp_path)


def test_the_chinese_report_in_a_browser_and_on_paper(chinese, tmp_path):
    seen("zh", chinese, tmp_path)


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("TIDEGATE_CONFIG", raising=False)
    (tmp_path / "policies").mkdir()
    (tmp_path / "tidegate.toml").write_text(CONFIGURATION + "\n", encoding="utf-8")
    writer = Writer(Records(tmp_path / "data"), 1_790_000_000.0, "x")
    writer.set_terms("example", ServiceTerms(), {"example.test": "operator"})
    report = ("sla", "report", "--customer", "example", "--format", "pdf", "--config", str(tmp_path / "tidegate.toml"))
    return lambda *arguments: CliRunner().invoke(app, [*report, *arguments])


def test_the_command_prints_a_file(run, tmp_path, browser):
    assert run("--output", str(tmp_path / "report.pdf")).exit_code in {0, 1}
    assert (tmp_path / "report.pdf").read_bytes().startswith(b"%PDF-")


def test_without_a_browser_the_command_says_what_to_install(run, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    result = run("--output", str(tmp_path / "report.pdf"))
    assert result.exit_code == 69
    assert "install the package chromium" in result.stderr
    assert not (tmp_path / "report.pdf").exists()


def test_a_pdf_is_not_written_to_a_terminal(run):
    assert run().exit_code == 2


def test_a_browser_that_fails_is_an_error_in_words(tmp_path):
    broken = tmp_path / "chromium"
    broken.write_text("#!/bin/sh\necho cannot open display >&2\nexit 3\n")
    broken.chmod(0o755)
    with pytest.raises(PdfError, match="cannot open display"):
        pdf("<p>x", str(broken))
