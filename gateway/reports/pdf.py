"""The report as PDF: Chromium prints the HTML page, which is made for A4.

A browser of the machine's own is used (Debian: ``chromium`` or ``chromium-headless-shell``, with a font that has
Chinese, such as ``fonts-wqy-microhei`` or ``fonts-noto-cjk``); the page runs no script and fetches nothing. It runs in
a folder of its own, with an empty profile, for PRINT_SECONDS at most.
"""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

BROWSERS = ("chromium", "chromium-headless-shell", "chromium-browser", "google-chrome")
# A month's page takes a second or two to print; a cold start on a busy machine some more.
PRINT_SECONDS = 120.0


class PdfError(Exception):
    """There is no browser, or it did not print; the message says what to do."""


def find_browser() -> str:
    """Return the path of a browser that prints; PdfError when there is none."""
    for name in BROWSERS:
        path = shutil.which(name)
        if path is not None:
            return path
    raise PdfError(
        "PDF is printed by Chromium, which is not installed here: install the package chromium (and"
        " fonts-wqy-microhei for Chinese), or write --format html and print it elsewhere"
    )


def pdf(html: str, browser: str) -> bytes:
    """Return a page as PDF; PdfError."""
    return _made(html, browser, ("--no-pdf-header-footer",), "print-to-pdf", "report.pdf")


def screenshot(html: str, browser: str, size: tuple[int, int]) -> bytes:
    """Return a page as it is seen in a window of ``size`` pixels, as PNG; PdfError."""
    width, height = size
    return _made(html, browser, ("--hide-scrollbars", f"--window-size={width},{height}"), "screenshot", "report.png")


def _made(html: str, browser: str, options: Sequence[str], action: str, name: str) -> bytes:
    with tempfile.TemporaryDirectory(prefix="tidegate-report-") as folder:
        page, made = Path(folder) / "report.html", Path(folder) / name
        page.write_text(html, encoding="utf-8")
        command = [browser, *_OPTIONS, *_unsandboxed(), *options, f"--user-data-dir={folder}/profile"]
        try:
            done = subprocess.run(  # noqa: S603 - a browser found by its name, our own page
                [*command, f"--{action}={made}", page.as_uri()],
                cwd=folder,
                env={**os.environ, "HOME": folder},
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=PRINT_SECONDS,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise PdfError(f"{browser}: {error}") from error
        if done.returncode != 0 or not made.exists():
            said = done.stderr.decode("utf-8", "replace").strip().splitlines()
            raise PdfError(f"{browser} did not make the file: {said[-1] if said else done.returncode}")
        return made.read_bytes()


# No network, no extensions, nothing of the user's; /dev/shm is small in containers.
_OPTIONS = (
    "--headless",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-extensions",
    "--disable-background-networking",
    "--no-first-run",
)


def _unsandboxed() -> tuple[str, ...]:
    # Chromium refuses to run as root with its sandbox; what it shows is our own page, with everything escaped.
    return ("--no-sandbox",) if os.geteuid() == 0 else ()
