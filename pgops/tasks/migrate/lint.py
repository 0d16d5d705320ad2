"""migrate.lint: revision files are read for hazards without a database."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from pgops.tasks._task import Context, histories_of, load_environment, load_project, task
from pgops.tasks.migrate.document_flags import DOCUMENT_HELP, DOCUMENTS

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pgops.migrations.hazards import Known
    from pgops.migrations.lint.lint import Linted
    from pgops.terminal.console import Console

_NO_SIZES = "none: every table that these revisions do not make is taken for a large one"
_FAIL_ON = ("block", "warning", "never")


@task(
    help={
        "env": "environment whose Alembic settings and limits count; its database is not touched",
        "since": "only revisions that are new or edited since this branch, tag or commit",
        "sizes": "file with the tables' sizes: a backup's manifest.json, or what backup.show --json prints",
        "sizes_of": "environment whose database is asked for the tables' sizes; it is only read",
        "fail_on": "end with 7 where a finding is a block (the default) or a warning, or never",
        **DOCUMENT_HELP,
    },
    optional=DOCUMENTS,
)
def lint(
    context: Context,
    console: Console,
    *,
    env: str | None = None,
    history: str | None = None,
    since: str | None = None,
    sizes: str | None = None,
    sizes_of: str | None = None,
    fail_on: str = "block",
    markdown: str | None = None,
    sarif: str | None = None,
    annotations: str | None = None,
    code_quality: str | None = None,
    json: bool = False,
) -> None:
    """Read revision files for hazards, without a database: for a pull request or a pre-commit hook."""
    from pgops.errors import UsageError
    from pgops.migrations.lint.lint import lint as read
    from pgops.tasks.migrate.documents import Documents

    documents = Documents(markdown=markdown, sarif=sarif, annotations=annotations, code_quality=code_quality)
    documents.check(json=json)
    if fail_on not in _FAIL_ON:
        raise UsageError(f"--fail-on={fail_on}: it is one of {', '.join(_FAIL_ON)}")
    if sizes is not None and sizes_of is not None:
        raise UsageError("--sizes and --sizes-of are two answers to one question; give one of them")
    project = load_project(context)
    # Nothing of it is touched, so the first one will do where none is the default.
    environment = project.environment(env or project.default or next(iter(project.environments)))
    chosen = histories_of(environment, history)

    def each(known: Known, told: str) -> list[Linted]:
        return [read(one, known, since=since, sizes=told) for one in chosen]

    found = _with_sizes(context, sizes, sizes_of, each)
    if not documents.on_stdout:
        _show(console, found)
    if documents:
        from pgops.pages.findings import findings_of_lint
        from pgops.pages.plan import lint_markdown

        documents.write(console, findings_of_lint(found), lambda: lint_markdown(found), category="lint")
    value = found[0].as_dict() if len(found) == 1 else _together(found)
    _judge(found, fail_on, value)
    console.result({"lint": value})


def _with_sizes(
    context: Context,
    sizes: str | None,
    sizes_of: str | None,
    read: Callable[[Known, str], list[Linted]],
) -> list[Linted]:
    """Read with the sizes that there are."""
    from pgops.migrations.hazards import ListedSizes

    if sizes_of is not None:
        from pgops.migrations.hazards.known import LiveTarget
        from pgops.migrations.status.query import database_told
        from pgops.postgres import read_only_session
        from pgops.targets import target_for

        asked = load_environment(context, sizes_of)
        target = target_for(asked)
        with database_told(asked.name), read_only_session(target) as connection:
            return read(LiveTarget(connection), f"{asked.name}: {target.place}")
    if sizes is not None:
        from pgops.migrations.lint.sizes import read_sizes

        return read(ListedSizes(read_sizes(Path(sizes))), f"{sizes}: as old as that file")
    return read(ListedSizes(None), _NO_SIZES)


def _show(console: Console, found: Sequence[Linted]) -> None:
    from pgops.terminal.messages.migrate import show_hazards
    from pgops.units import counted

    for linted in found:
        history = linted.environment.alembic.history
        of = f"history {history}: " if history else ""
        since = f" new or edited since {linted.since}" if linted.since else ""
        console.say(f"{of}{counted(len(linted.revisions), 'revision')}{since}")
        for note in linted.notes:
            console.say(f"  note: {note}")
        for revision in linted.revisions:
            console.say(
                f"  + {console.style(revision.revision, 'cyan')}  {revision.message or '(no message)'}"
            )
            console.say(f"      {revision.path(linted.environment.project)}")
            if revision.reads_data:
                console.say(f"      its SQL is not known before it runs: {revision.reads_data}")
            show_hazards(console, revision.hazards, "upgrade")
    if any(each.revisions for each in found):
        console.say(f"  sizes: {found[0].sizes}")
        for unknown in found[0].unknown:
            console.say(f"  not known: {unknown}")


def _together(found: Sequence[Linted]) -> dict[str, object]:
    """Of several histories all that was read, and each of them beside it."""
    each_one = [each.as_dict() for each in found]
    return {
        "environment": found[0].environment.name,
        "since": found[0].since,
        "sizes": found[0].sizes,
        "revisions": [
            {**revision.as_dict(each.environment.project), "history": each.environment.alembic.history}
            for each in found
            for revision in each.revisions
        ],
        "unknown": list(found[0].unknown),
        "notes": [note for each in found for note in each.notes],
        "histories": each_one,
    }


def _judge(found: Sequence[Linted], fail_on: str, value: dict[str, object]) -> None:
    """:raises LintError: there is a finding that this ends with."""
    from pgops.migrations.lint.lint import LintError

    levels = {"block": {"block"}, "warning": {"block", "warning"}, "never": set[str]()}[fail_on]
    wrong = [hazard for each in found for hazard in each.hazards if hazard.level in levels]
    if wrong:
        raise LintError(wrong, value, sized=not found[0].sizes.startswith("none"))
