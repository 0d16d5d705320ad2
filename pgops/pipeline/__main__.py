"""``python -m pgops.pipeline look|comment|migrate``; see :mod:`pgops.pipeline`."""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pgops.pipeline.comment import HASH, keep_up_to_date, reviewed_hash
from pgops.pipeline.forge import (
    Api,
    Forge,
    ForgeError,
    GitHub,
    GitLab,
    merged_merge_requests,
    merged_pull_requests,
)
from pgops.pipeline.look import log, look, pgops

_BLOCKED, _FAILURE, _USAGE = 7, 1, 2
_MAY_NOT_WRITE = frozenset([401, 403, 404])
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


class RefusedStepError(Exception):
    """What keeps a step from being done, and its exit code."""

    def __init__(self, message: str, code: int) -> None:
        super().__init__(message)
        self.code = code


def main(arguments: Sequence[str]) -> int:
    """Do one step of a pipeline; its exit code."""
    given = _parser().parse_args(arguments)
    try:
        match given.step:
            case "look":
                return _look(given)
            case "comment":
                return _comment(given)
            case _:
                return _migrate(given)
    except RefusedStepError as error:
        log(f"error: {error}")
        return error.code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m pgops.pipeline", allow_abbrev=False)
    steps = parser.add_subparsers(dest="step", required=True)
    step = steps.add_parser("look", help="migrate.lint or migrate.plan, every form in files; needs no token")
    step.add_argument("kind", choices=["lint", "plan"])
    step.add_argument("--env", default="", help="environment")
    step.add_argument("--since", default="", help="of lint: branch or commit")
    step.add_argument("--sizes", default="", help="of lint: file with sizes")
    step.add_argument("--output", default="pgops-review", help="directory for the files")
    step = steps.add_parser("comment", help="keep one comment up to date; runs nothing of the project")
    step.add_argument("kind", choices=["lint", "plan"])
    step.add_argument("--env", default="")
    step.add_argument("--hash", default="", help="of the plan")
    step.add_argument("--file", required=True, help="Markdown")
    step = steps.add_parser("migrate", help="apply the plan that was reviewed, and no other")
    step.add_argument("--env", required=True)
    step.add_argument("--hash", default="", help="of the plan; of the merged pull request when not given")
    step.add_argument(
        "--plan", default="", help="a signed plan, its signatures beside it; no hash is looked up then"
    )
    step.add_argument("--accept-hazard", default="", help="rules that block and may be ignored, with commas")
    step.add_argument("--reason", default="", help="why, for the journal")
    return parser


def _look(given: argparse.Namespace) -> int:
    words = [
        f"--{name}={value}"
        for name, value in (("env", given.env), ("since", given.since), ("sizes", given.sizes))
        if value
    ]
    return look(given.kind, words, Path(given.output), _secret())


def _secret() -> Mapping[str, str]:
    """``PGOPS_SECRET`` under the name in ``PGOPS_SECRET_NAME``: what ``password: {env: …}`` reads."""
    name, value = os.environ.get("PGOPS_SECRET_NAME", ""), os.environ.get("PGOPS_SECRET", "")
    if not name:
        return {}
    if not _VARIABLE.fullmatch(name):
        raise RefusedStepError(f"{name!r} is no name of a variable", _USAGE)
    return {name: value}


def _comment(given: argparse.Namespace) -> int:
    forge = _forge()
    if forge is None:
        log("this is no pull request: no comment is written")
        return 0
    body = Path(given.file).read_text(encoding="utf-8", errors="replace")
    try:
        done = keep_up_to_date(forge, given.kind, given.env or "all", given.hash, body)
    except ValueError as error:
        raise RefusedStepError(str(error), _USAGE) from error
    except ForgeError as error:
        if error.status in _MAY_NOT_WRITE:
            # A pull request from a fork has a token that only reads: the plan is in the job's summary all the same.
            log(f"the comment was not written, the token may not: {error}")
            return 0
        raise RefusedStepError(f"the comment was not written: {error}", _FAILURE) from error
    log(f"comment {done}")
    return 0


def _forge() -> Forge | None:
    """Where this pipeline's request for review is; ``None`` where there is none."""
    if os.environ.get("GITLAB_CI"):
        number = os.environ.get("CI_MERGE_REQUEST_IID", "")
        if not number or not os.environ.get("PGOPS_GITLAB_TOKEN"):
            return None
        return GitLab(_gitlab(), os.environ["CI_PROJECT_ID"], int(number))
    pull = _event().get("pull_request") or {}
    return GitHub(_github(), _repository(), int(pull["number"]), _login()) if "number" in pull else None


def _gitlab() -> Api:
    token = os.environ.get("PGOPS_GITLAB_TOKEN", "")
    if not token:
        raise RefusedStepError("PGOPS_GITLAB_TOKEN is not set", _USAGE)
    return Api(os.environ["CI_API_V4_URL"], {"PRIVATE-TOKEN": token})


def _event() -> dict[str, Any]:
    file = os.environ.get("GITHUB_EVENT_PATH", "")
    found = json.loads(Path(file).read_text(encoding="utf-8")) if file else {}
    return found if isinstance(found, dict) else {}


def _github() -> Api:
    token = os.environ.get("PGOPS_GITHUB_TOKEN", "")
    if not token:
        raise RefusedStepError("PGOPS_GITHUB_TOKEN is not set", _USAGE)
    return Api(
        os.environ.get("GITHUB_API_URL", "https://api.github.com"),
        {"Authorization": f"Bearer {token}", "X-GitHub-Api-Version": "2022-11-28"},
    )


def _repository() -> str:
    found = os.environ.get("GITHUB_REPOSITORY", "")
    if not re.fullmatch(r"[A-Za-z0-9_.-]+/[A-Za-z0-9_.-]+", found):
        raise RefusedStepError(f"GITHUB_REPOSITORY={found!r} is no repository", _USAGE)
    return found


def _login() -> str:
    return os.environ.get("PGOPS_COMMENT_AUTHOR") or "github-actions[bot]"


def _migrate(given: argparse.Namespace) -> int:
    if given.hash and not HASH.fullmatch(given.hash):
        raise RefusedStepError(f"{given.hash!r} is no hash of a plan", _USAGE)
    environ = _secret()
    code, plan = pgops(["migrate.plan", f"--env={given.env}"], environ)
    if code:
        return code
    if not plan["pending"]:
        log(f"{given.env}: nothing is pending")
        return 0
    # Of a plan that is signed, the signatures say what was reviewed.
    approved = given.plan or given.hash or _hash_of_merged(given.env)
    if not given.plan and plan["hash"] != approved:
        raise RefusedStepError(
            f"{given.env}: plan {approved} was reviewed, and {plan['hash']} is what would run: nothing was applied; "
            "plan again, review it, and deploy that",
            _BLOCKED,
        )
    # What it was is compared once more under the run's lock.
    accepted = [f"--accept-hazard={each.strip()}" for each in given.accept_hazard.split(",") if each.strip()]
    reason = [f"--reason={given.reason}"] if given.reason else []
    confirmed = f"--confirm={plan['environment']}"
    code, run = pgops(
        ["migrate", f"--env={given.env}", confirmed, f"--plan={approved}", *accepted, *reason], environ
    )
    if code == 0:
        log(f"{given.env}: applied {', '.join(run['run']['applied'])}")
    return code


def _hash_of_merged(name: str) -> str:
    """The hash in the comment on the request by which the commit came."""
    try:
        for review in _merged():
            if found := reviewed_hash(review, name):
                return found
    except ForgeError as error:
        raise RefusedStepError(
            f"what was reviewed can't be looked up: {error}; nothing was applied", _BLOCKED
        ) from error
    raise RefusedStepError(
        f"no merged request for this commit has a plan of {name}: nothing was applied; give --hash, or let a plan be reviewed",
        _BLOCKED,
    )


def _merged() -> Iterator[Forge]:
    """The merged requests by which the pipeline's commit came, newest first."""
    if os.environ.get("GITLAB_CI"):
        gitlab, project = _gitlab(), os.environ["CI_PROJECT_ID"]
        for number in merged_merge_requests(gitlab, project, os.environ["CI_COMMIT_SHA"]):
            yield GitLab(gitlab, project, number)
        return
    github, repository = _github(), _repository()
    for number in merged_pull_requests(github, repository, os.environ.get("GITHUB_SHA", "")):
        yield GitHub(github, repository, number, _login())


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
