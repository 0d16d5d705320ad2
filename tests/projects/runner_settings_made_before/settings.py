"""Settings that a program has to load before anything may read them."""

_loaded = {}


def load(**values):
    _loaded.update(values)


def get(name):
    return _loaded[name]
