"""The flags that name a document, and their help: what every start reads of it."""

from __future__ import annotations

DOCUMENTS = ("markdown", "sarif", "annotations", "code_quality")
DOCUMENT_HELP = {
    "markdown": "print it as Markdown for a pull request, or write it to this file",
    "sarif": "print its hazards as SARIF 2.1.0, or write them to this file",
    "annotations": "print its hazards as GitHub's workflow commands, or write them to this file",
    "code_quality": "print its hazards as GitLab's Code Quality report, or write them to this file",
}
