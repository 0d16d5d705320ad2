"""The pages in a real browser: on a telephone and on a wide screen, in light and in dark."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from pgops.migrations.rehearsal.measured import HeldLock, Stall
from pgops.pages.rehearsal import as_html
from tests.support.rehearsals import nasty, ran, rehearsal, statement

LONG = "a_table_with_a_name_of_sixty_three_characters_which_is_the_most_x"
MEASURE = (
    "<script>document.documentElement.setAttribute('data-over',"
    "String(document.documentElement.scrollWidth - document.documentElement.clientWidth))</script>"
)


@pytest.fixture(scope="module")
def browser() -> str:
    found = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if found is None:
        pytest.skip("no Chromium here (Debian package chromium)")
    return found


def dom(browser: str, file: Path, width: int, *arguments: str) -> str:
    """The document as the browser has it."""
    done = subprocess.run(
        [
            browser,
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            f"--user-data-dir={file.parent / 'profile'}",
            f"--window-size={width},900",
            *arguments,
            "--dump-dom",
            file.as_uri(),
        ],
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, "HOME": str(file.parent)},
    )
    assert done.returncode == 0, done.stderr[-500:]
    return done.stdout


def page(tmp_path: Path) -> str:
    lock = HeldLock(LONG, "ACCESS EXCLUSIVE", 0.5, 2.25)
    return as_html(
        rehearsal(
            tmp_path,
            ran("aa02", statement(f"ALTER TABLE {LONG} " * 20, locks=(lock,)), message=f"{LONG} " * 4),
            stalls=(Stall(LONG, 1.5, 2.5, "", "ERROR: relation does not exist"),),
        )
    )


@pytest.mark.parametrize("width", [360, 1440])
def test_nothing_runs_over_the_edge(browser: str, tmp_path: Path, width: int) -> None:
    text = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", page(tmp_path))
    file = tmp_path / "page.html"
    # A window is 500 pixels wide at least; a frame is as narrow as it is told.
    file.write_text(text.replace("</body>", f"{MEASURE}</body>"), encoding="utf-8")
    frame = tmp_path / "frame.html"
    frame.write_text(
        f"<!doctype html><body style='margin:0'><iframe id=f src=page.html width={width} height=900 "
        "style='border:0'></iframe><script>onload = () => { const d = document.getElementById('f').contentDocument"
        ".documentElement; document.body.dataset.over = d.scrollWidth - d.clientWidth;"
        "document.body.dataset.width = d.clientWidth }</script>",
        encoding="utf-8",
    )
    found = dom(browser, frame, 1600, "--allow-file-access-from-files")
    assert re.search(r'data-over="(-?\d+)"', found), found[-300:]
    assert re.search(r'data-over="0"', found), re.findall(r"data-\w+=\"-?\d+\"", found)


def test_nothing_of_others_becomes_an_element(browser: str, tmp_path: Path) -> None:
    file = tmp_path / "nasty.html"
    file.write_text(as_html(nasty(tmp_path)), encoding="utf-8")
    found = dom(browser, file, 1440)
    body = found[found.index("<body") :]
    assert "<script" not in body
    assert "<img" not in body
    assert "<style" not in body
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in body


def test_dark_is_another_page(browser: str, tmp_path: Path) -> None:
    file = tmp_path / "page.html"
    file.write_text(page(tmp_path), encoding="utf-8")
    pictures = []
    for name, arguments in (
        ("light", ()),
        ("dark", ("--force-dark-mode", "--blink-settings=preferredColorScheme=0")),
    ):
        picture = tmp_path / f"{name}.png"
        dom_arguments = [f"--screenshot={picture}", "--hide-scrollbars", *arguments]
        subprocess.run(
            [
                browser,
                "--headless=new",
                "--no-sandbox",
                "--disable-gpu",
                f"--user-data-dir={tmp_path / name}",
                "--window-size=1440,900",
                *dom_arguments,
                file.as_uri(),
            ],
            capture_output=True,
            timeout=120,
            check=True,
            env={**os.environ, "HOME": str(tmp_path)},
        )
        pictures.append(picture.read_bytes())
    assert pictures[0] != pictures[1]
