"""One comment, kept up to date: against APIs that answer as GitHub and GitLab do."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from pgops.pipeline.__main__ import main
from pgops.pipeline.comment import keep_up_to_date, reviewed_hash
from pgops.pipeline.forge import Api, ForgeError, GitHub, GitLab
from tests.support.forges import BOT, TOKEN, StandIn, stand_in

HASH = "0123456789abcdef"
OTHER = "fedcba9876543210"


@pytest.fixture
def github() -> Iterator[StandIn]:
    with stand_in("github") as found:
        yield found


def pull_request(server: StandIn) -> GitHub:
    return GitHub(Api(server.url, {"Authorization": f"Bearer {TOKEN}"}), "shop/app", 7)


def comment(server: StandIn, body: str, *, login: str = BOT) -> None:
    """Somebody's comment."""
    server.comments.append({"id": len(server.comments) + 1, "user": {"login": login}, "body": body})


def test_it_is_written_once_then_updated_and_left_alone_where_nothing_changed(github: StandIn) -> None:
    forge = pull_request(github)
    assert keep_up_to_date(forge, "plan", "production", HASH, "two revisions\n") == "created"
    assert keep_up_to_date(forge, "plan", "production", HASH, "two revisions\n") == "unchanged"
    github.comments[0]["body"] = github.comments[0]["body"].replace("\n", "\r\n")  # as GitHub may keep it
    assert keep_up_to_date(forge, "plan", "production", HASH, "two revisions\n") == "unchanged"
    assert keep_up_to_date(forge, "plan", "production", OTHER, "three\n") == "updated"
    assert [each["body"] for each in github.comments] == [
        f"<!-- pgops plan production hash={OTHER} -->\nthree\n"
    ]
    assert keep_up_to_date(forge, "plan", "staging", HASH, "x") == "created"
    assert keep_up_to_date(forge, "lint", "production", "", "x") == "created"
    assert reviewed_hash(forge, "production") == OTHER
    assert reviewed_hash(forge, "staging") == HASH
    assert reviewed_hash(forge, "prod") is None


def test_it_is_found_behind_a_hundred_others(github: StandIn) -> None:
    for number in range(250):
        comment(github, f"remark {number}", login="ann")
    forge = pull_request(github)
    assert keep_up_to_date(forge, "plan", "production", HASH, "one") == "created"
    assert keep_up_to_date(forge, "plan", "production", HASH, "two") == "updated"
    assert len(github.comments) == 251


@pytest.mark.parametrize(
    ("login", "body"),
    [
        ("mallory", f"<!-- pgops plan production hash={OTHER} -->\n"),
        (BOT, f"```sql\n<!-- pgops plan production hash={OTHER} -->\n```"),
        (BOT, f"<!-- pgops plan staging hash={HASH} -->\n<!-- pgops plan production hash={OTHER} -->"),
        (BOT, f"<!-- pgops plan production hash={OTHER} --> x"),
        (BOT, f"<!-- pgops plan production hash={OTHER}0 -->"),
        (BOT, f" <!-- pgops plan production hash={OTHER} -->"),
        (BOT, f"<!-- pgops plan production2 hash={OTHER} -->"),
        ("GitHub-Actions[bot]x", f"<!-- pgops plan production hash={OTHER} -->"),
    ],
)
def test_nothing_else_is_taken_for_it(github: StandIn, login: str, body: str) -> None:
    comment(github, body, login=login)
    forge = pull_request(github)
    assert reviewed_hash(forge, "production") is None
    assert keep_up_to_date(forge, "plan", "production", HASH, "ours") == "created"
    assert github.comments[0]["body"] == body
    assert reviewed_hash(forge, "production") == HASH


@pytest.mark.parametrize("name", ["", "a b", "x -->\n<!-- pgops plan production", "../x", "p" + "\n"])
def test_a_name_that_is_none_is_refused(github: StandIn, name: str) -> None:
    with pytest.raises(ValueError, match="no name of an environment"):
        keep_up_to_date(pull_request(github), "plan", name, HASH, "x")
    with pytest.raises(ValueError, match="no hash of a plan"):
        keep_up_to_date(pull_request(github), "plan", "production", f"{HASH}\n", "x")
    assert github.requests == []


def test_the_token_goes_to_no_other_host(github: StandIn) -> None:
    with stand_in("github") as elsewhere:
        github.redirect_to = elsewhere.url
        with pytest.raises(ForgeError):
            keep_up_to_date(pull_request(github), "plan", "production", HASH, "x")
        assert elsewhere.requests == []


def test_an_error_holds_no_token(github: StandIn) -> None:
    github.broken = 500
    with pytest.raises(ForgeError) as told:
        pull_request(github).create("x")
    assert TOKEN not in f"{told.value!r} {told.value.__context__!r} {told.value.__cause__!r}"


@pytest.fixture
def step(github: StandIn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A job of a pull request, with a plan to comment."""
    event = tmp_path / "event.json"
    event.write_text(json.dumps({"pull_request": {"number": 7}}))
    for name, value in {
        "GITHUB_ACTIONS": "true",
        "GITHUB_API_URL": github.url,
        "GITHUB_EVENT_PATH": str(event),
        "GITHUB_REPOSITORY": "shop/app",
        "PGOPS_GITHUB_TOKEN": TOKEN,
    }.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("GITLAB_CI", raising=False)
    file = tmp_path / "plan.md"
    file.write_text("## Migration of production\n")
    return file


def run(file: Path) -> int:
    return main(["comment", "plan", "--env=production", f"--hash={HASH}", f"--file={file}"])


def test_the_step_comments(step: Path, github: StandIn, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(step) == 0
    assert "comment created" in capsys.readouterr().out
    assert github.comments[0]["body"].endswith("\n## Migration of production\n")


def test_a_token_that_only_reads_is_enough(
    step: Path, github: StandIn, capsys: pytest.CaptureFixture[str]
) -> None:
    github.read_only = True
    assert run(step) == 0
    assert "the comment was not written, the token may not" in capsys.readouterr().out
    assert github.comments == []


def test_what_is_broken_is_no_success(
    step: Path, github: StandIn, capsys: pytest.CaptureFixture[str]
) -> None:
    github.broken = 502
    assert run(step) == 1
    assert "HTTP 502" in capsys.readouterr().out


def test_where_there_is_no_pull_request_nothing_is_written(step: Path, github: StandIn) -> None:
    Path(step.parent / "event.json").write_text(json.dumps({"ref": "refs/heads/main"}))
    assert run(step) == 0
    assert github.requests == []


def test_a_repository_that_is_none_is_refused(
    step: Path, github: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GITHUB_REPOSITORY", "shop/app/../../other")
    assert run(step) == 2
    assert github.requests == []


def test_gitlab(step: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with stand_in("gitlab") as server:
        for name, value in {
            "GITLAB_CI": "true",
            "CI_API_V4_URL": server.url,
            "CI_PROJECT_ID": "shop/app",
            "CI_MERGE_REQUEST_IID": "7",
            "PGOPS_GITLAB_TOKEN": TOKEN,
        }.items():
            monkeypatch.setenv(name, value)
        assert (run(step), run(step)) == (0, 0)
        assert [each["body"].partition("\n")[0] for each in server.comments] == [
            f"<!-- pgops plan production hash={HASH} -->"
        ]
        step.write_text("other\n")
        assert run(step) == 0
        assert [each[0] for each in server.written] == ["POST", "PUT"]
        forge = GitLab(Api(server.url, {"PRIVATE-TOKEN": TOKEN}), "shop/app", 7)
        assert reviewed_hash(forge, "production") == HASH
