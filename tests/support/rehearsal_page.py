"""docs/rehearsal-example.html and its picture: ``python -m tests.support.rehearsal_page`` makes both anew."""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
from pathlib import Path

from pgops.pages.rehearsal import as_html
from tests.support.rehearsals import example

DOCS = Path(__file__).resolve().parents[2] / "docs"
PAGE = DOCS / "rehearsal-example.html"
PICTURE = DOCS / "rehearsal.png"


def page() -> str:
    """The example, without the version that wrote it."""
    return re.sub(r"· pgops [^ ]+?\. Nothing", "· pgops. Nothing", as_html(example()))


def main() -> None:
    PAGE.write_text(page(), encoding="utf-8")
    browser = shutil.which("chromium")
    if browser is None:
        raise SystemExit("no chromium here: the picture stays as it is")
    with tempfile.TemporaryDirectory() as profile:
        subprocess.run(
            [
                browser,
                "--headless=new",
                "--no-sandbox",
                "--disable-gpu",
                "--hide-scrollbars",
                f"--user-data-dir={profile}",
                "--window-size=1120,900",
                f"--screenshot={PICTURE}",
                PAGE.as_uri(),
            ],
            check=True,
            capture_output=True,
            timeout=120,
        )


if __name__ == "__main__":
    main()
