"""Puts the site's pages together: docs/, the pages of the root, and one page for each task.

``python docs/assemble.py`` writes them to build/pages, where zensical.toml looks; nothing else is touched.
"""

from __future__ import annotations

import re
import shutil
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PAGES = ROOT / "build" / "pages"
# Pages of the root -> their name in the site.
OF_THE_ROOT = {
    "README.md": "index.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
    "SECURITY.md": "security.md",
}


def assemble() -> None:
    """Write every page anew; links between docs/ and the root lead to their place in the site."""
    from tests.support.task_reference import pages

    shutil.rmtree(PAGES, ignore_errors=True)
    shutil.copytree(ROOT / "docs", PAGES, ignore=shutil.ignore_patterns("*.py", "__pycache__"))
    for page in PAGES.glob("*.md"):
        text = page.read_text(encoding="utf-8")
        for source, name in OF_THE_ROOT.items():
            text = text.replace(f"](../{source}", f"]({name}")
        page.write_text(text, encoding="utf-8")
    for source, name in OF_THE_ROOT.items():
        if (ROOT / source).exists():
            text = re.sub(r"\]\(docs/", "](", (ROOT / source).read_text(encoding="utf-8"))
            for other, there in OF_THE_ROOT.items():
                text = text.replace(f"]({other}", f"]({there}")
            (PAGES / name).write_text(text, encoding="utf-8")
    (PAGES / "tasks").mkdir()
    for task, text in pages().items():
        (PAGES / "tasks" / f"{task}.md").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    assemble()
