"""The task decorator: shared flags, the one place where errors become exit codes, signals, dry runs."""

from __future__ import annotations

import functools
import logging
import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from invoke.context import Context
from invoke.exceptions import Exit
from invoke.parser.argument import Argument
from invoke.tasks import Task

from pgops.errors import DefectError, ExitCode, InterruptedRunError, PgopsError, UsageError
from pgops.tasks._lost import interrupted_is_not_lost, of_the_server
from pgops.units import SECONDS, seconds_of

if TYPE_CHECKING:
    from pgops.environments import Environment, Project

SHORT_FLAGS: Mapping[str, str] = {
    "env": "e",
    "yes": "y",
    "json": "j",
    "message": "m",
    "follow": "f",
    "command": "c",
}

SHARED_HELP: Mapping[str, str] = {
    "env": "environment (name or alias) from environments.yaml; its default when not given",
    "yes": "answer yes; never enough for a protected environment",
    "confirm": "name of the environment, instead of typing it when asked",
    "dry_run": "look and show, change nothing",
    "json": "print one JSON object on stdout",
    "history": "one of the environment's histories; all of them, in their order, when not given",
    "lock_wait": "how long to wait for another run's lock, such as 10s or 2min",
}


class CheckedArgument(Argument):
    """A flag whose number is looked at: invoke would show a traceback, and ``nan`` seconds would never end.

    A fraction is always a duration here, written as in environments.yaml (``10s``, ``2min``) or as bare seconds.
    """

    def set_value(self, value: Any, cast: bool = True) -> None:
        flag = str(self.name).replace("_", "-")
        if (
            cast
            and self.kind is int
            and not self.incrementable
            and not re.fullmatch("[0-9]{1,9}", str(value))
        ):
            raise UsageError(f"--{flag}={value}: it takes a whole number, 0 or more")
        if cast and self.kind is float:
            seconds = seconds_of(str(value))
            if seconds is None:
                raise UsageError(
                    f"--{flag}={value}: it takes a duration such as 10s, with one of {', '.join(SECONDS)}"
                )
            value = seconds
        super().set_value(value, cast)

    def __deepcopy__(self, memo: dict[int, Any]) -> CheckedArgument:
        # Invoke's parser copies every flag of every task at every start. Only the value ever changes, and it
        # is replaced, never changed in place.
        twin = self.__class__.__new__(self.__class__)
        twin.__dict__.update(self.__dict__)
        return twin


class OpsTask(Task[Callable[..., Any]]):
    """A task whose only short flags are the documented ones; invoke would give every flag one."""

    def __deepcopy__(self, memo: dict[int, Any]) -> OpsTask:
        # Invoke's loader copies the whole namespace at every start; nothing changes a task once it is made.
        return self

    def arg_opts(self, name: str, default: Any, taken_names: set[str]) -> dict[str, Any]:
        options: dict[str, Any] = super().arg_opts(name, default, taken_names)
        short = SHORT_FLAGS.get(name)
        long = options["names"][0]
        options["names"] = (long, short) if short and short not in taken_names else (long,)
        return options

    def get_arguments(self, ignore_unknown_help: bool | None = None) -> list[Argument]:
        # Invoke empties ``help`` while it reads it; a second look (a reference, a completion) needs it again.
        explained = dict(self.help)
        found = super().get_arguments(ignore_unknown_help)
        self.help = explained
        return [
            CheckedArgument(
                names=each.names,
                kind=each.kind,
                default=each.default,
                help=each.help,
                positional=each.positional,
                optional=each.optional,
                incrementable=each.incrementable,
                attr_name=each.attr_name,
            )
            for each in found
        ]


def task(
    *,
    help: Mapping[str, str] | None = None,
    name: str | None = None,
    default: bool = False,
    iterable: Iterable[str] = (),
    optional: Iterable[str] = (),
    positional: Iterable[str] = (),
) -> Callable[[Callable[..., None]], OpsTask]:
    """Make a task of a function ``(context, console, *, flags…)``.

    ``optional`` names flags that may stand without a value (they are ``True`` then).
    ``help`` explains the flags that :data:`SHARED_HELP` does not; ``positional`` names those that stand without a
    flag. The function gets a
    :class:`pgops.terminal.console.Console` as its second argument and prints through nothing else; it raises
    :class:`PgopsError` for expected failures.
    """

    def decorate(body: Callable[..., None]) -> OpsTask:
        import inspect

        signature = inspect.signature(body)
        flags = list(signature.parameters.values())[2:]
        shown = {
            each.name: text for each in flags if (text := {**SHARED_HELP, **(help or {})}.get(each.name))
        }

        @functools.wraps(body)
        def run(context: Context, *args: Any, **given: Any) -> None:
            _run(body, context, *args, **given)

        # Invoke reads flags from the signature; ours hides the console, which is not a flag.
        run.__signature__ = signature.replace(  # type: ignore[attr-defined]
            parameters=[
                inspect.Parameter("context", inspect.Parameter.POSITIONAL_OR_KEYWORD),
                *(each.replace(kind=inspect.Parameter.POSITIONAL_OR_KEYWORD) for each in flags),
            ]
        )
        return OpsTask(
            run,
            name=name,
            default=default,
            positional=tuple(positional),
            iterable=tuple(iterable),
            optional=tuple(optional),
            help=shown,
        )

    return decorate


def _run(body: Callable[..., None], context: Context, *args: Any, **given: Any) -> None:
    from pgops.runtime import endings, garbage, variables, watchdog
    from pgops.secrets.redaction import redact, redact_what_python_prints
    from pgops.terminal.console import Console, LostOutputError

    redact_what_python_prints()
    console = Console(json_output=bool(given.get("json")))
    if context.config.run.dry and "dry_run" in given:
        given["dry_run"] = True
    try:
        with (
            garbage.seldom_collected(),
            endings.of_a_task(),
            variables.set_aside(),
            watchdog.watching(),
            interrupted_is_not_lost(),
        ):
            body(context, console, *args, **given)
        console.check_output()
    except LostOutputError as error:
        # Not as JSON: that has nowhere to go.
        Console().fail(error)
        raise Exit(code=int(error.exit_code)) from error
    except PgopsError as error:
        if logging.getLogger("invoke").isEnabledFor(logging.DEBUG):
            logging.getLogger("invoke").debug("the failure's traceback", exc_info=error)
        console.fail(error)
        raise Exit(code=int(error.exit_code)) from error
    except KeyboardInterrupt as error:
        console.fail(InterruptedRunError("interrupted", hint="look at the state with: invoke status"))
        raise Exit(code=int(ExitCode.INTERRUPTED)) from error
    except Exit:
        raise
    except BaseException as error:
        if (told := of_the_server(error)) is not None:
            logging.getLogger("invoke").debug("the failure's traceback", exc_info=error)
            console.fail(told)
            raise Exit(code=int(told.exit_code)) from error
        # A defect keeps its traceback, on stderr; who reads JSON gets an object all the same. What is no Exception
        # was raised by other people's code, and is told like one.
        if console.json_output:
            message = f"{type(error).__name__}: {redact(' '.join(str(error).split()))}"
            console.fail(DefectError(message, hint="a defect of pgops; the traceback is on stderr"))
        raise


def load_project(context: Context) -> Project:
    """environments.yaml of the project that invoke's tasks.py stands in.

    :raises ConfigurationError: with every mistake.
    """
    from pgops.environments import load

    return load(root=project_root(context))


def project_root(context: Context) -> Path:
    """The directory of the tasks.py that invoke loaded, whatever the working directory is."""
    # Invoke keeps the location under a private name only; a test pins it.
    found: str | None = getattr(context.config, "_project_prefix", None)
    return Path(found) if found else Path.cwd()


def load_environment(context: Context, name: str | None, *, flag: str = "--env") -> Environment:
    """The environment a task was asked for. Nothing after this knows an alias.

    :param flag: how the name was typed.
    :raises UsageError: no such environment.
    :raises ConfigurationError: environments.yaml has mistakes, or the database has a name that is protected and
        one that is not.
    """
    from pgops.environments import HostConnection

    project = load_project(context)
    found = project.environment(name, flag=flag)
    # Two names for one database are seen when the file is read, where hosts are all that it says.
    if not all(isinstance(each.connection, HostConnection) for each in project.environments.values()):
        from pgops.targets import refuse_two_names

        refuse_two_names(project, found)
    return found


def histories_of(environment: Environment, history: str | None) -> tuple[Environment, ...]:
    """What a task with ``--history`` is about: one history, or each of them in turn.

    :raises UsageError: there is no such history.
    """
    return environment.histories() if history is None else (environment.history(history),)


def one_history(environment: Environment, history: str | None, what: str) -> Environment:
    """The same for what can be done with one history only.

    :param what: that, for the message.
    :raises UsageError: there are several, and none was named.
    """
    names = "|".join(environment.alembic.histories)
    if history is None and len(environment.alembic.histories) > 1:
        raise UsageError(
            f"{what} is of one history, and {environment.name} has {len(environment.alembic.histories)}",
            untouched=f"{environment.name} was not touched",
            hint=f"say which: --history=<{names}>",
        )
    return histories_of(environment, history)[0]


__all__ = [
    "Context",
    "histories_of",
    "load_environment",
    "load_project",
    "one_history",
    "project_root",
    "task",
]
