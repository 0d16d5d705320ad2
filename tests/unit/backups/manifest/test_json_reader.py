"""Typed access to JSON: the error names the path of what is wrong."""

from __future__ import annotations

import pytest

from pgops.backups.manifest.json_reader import MalformedError, load_object


def test_values_come_out_with_their_types() -> None:
    read = load_object('{"t": "x", "n": 3, "f": 1.5, "b": true, "l": ["a"], "o": {"k": -1}, "z": null}')
    assert (read.text("t"), read.integer("n"), read.number("f"), read.flag("b")) == ("x", 3, 1.5, True)
    assert (read.texts("l"), read.object("o").signed("k")) == (("a",), -1)
    assert (read.text_or_none("z"), read.texts_or_none("z"), read.integer_or_none("z")) == (None, None, None)


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ('{"o": [{"k": 1}, {"k": "1"}]}', "o[1].k is not a whole number"),
        ('{"o": [{"k": 1}, {}]}', "o[1].k is missing"),
        ('{"o": [1]}', "o[0] is not an object"),
        ('{"o": {}}', "o is not a list"),
    ],
)
def test_errors_name_the_path(text: str, path: str) -> None:
    with pytest.raises(MalformedError) as caught:
        [each.integer("k") for each in load_object(text).objects("o")]
    assert path in str(caught.value)
