"""What Python and Alembic say by themselves while env.py runs: none of it is for whoever reads pgops."""

from __future__ import annotations

import contextlib
import logging
import warnings
from collections.abc import Iterator


@contextlib.contextmanager
def quiet_warnings() -> Iterator[None]:
    """What is deprecated in the project's own code is no news for whoever migrates."""
    with warnings.catch_warnings():
        for category in (DeprecationWarning, PendingDeprecationWarning, FutureWarning, ResourceWarning):
            warnings.simplefilter("ignore", category)
        yield


@contextlib.contextmanager
def without_alembics_lines() -> Iterator[None]:
    """Alembic's INFO lines say what we say; a filter stays on its logger even when env.py calls fileConfig."""
    logger = logging.getLogger("alembic.runtime.migration")

    def at_least_warning(record: logging.LogRecord) -> bool:
        return record.levelno >= logging.WARNING

    logger.addFilter(at_least_warning)
    try:
        yield
    finally:
        logger.removeFilter(at_least_warning)


@contextlib.contextmanager
def our_own_logging() -> Iterator[None]:
    """The root logger's level and handlers are env.py's in the block only: its DEBUG would be told by every library."""
    root = logging.getLogger()
    level, handlers = root.level, list(root.handlers)
    try:
        yield
    finally:
        root.setLevel(level)
        root.handlers[:] = handlers
