"""An application framework with a context: outside of it there is no current application."""

import contextlib
import contextvars

current = contextvars.ContextVar("current application")


class Application:
    def __init__(self, url):
        self.url = url

    @contextlib.contextmanager
    def context(self):
        token = current.set(self)
        try:
            yield self
        finally:
            current.reset(token)
