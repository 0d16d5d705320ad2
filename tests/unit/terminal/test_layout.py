"""Lines that fit: folded at words, never inside one, and never inside a command to paste."""

from __future__ import annotations

import pytest

from pgops.terminal.layout import Grid, columns, folded, shown_length, table

TEXT = "error: production: the command aws ended with 255: You must specify a region before anything else happens"


@pytest.mark.parametrize("width", [24, 40, 60, 80])
def test_prose_is_folded_at_words(width: int) -> None:
    lines = folded(TEXT, width).split("\n")
    assert max(map(len, lines)) <= width
    assert " ".join(line.strip() for line in lines) == TEXT
    assert all(line.startswith("  ") for line in lines[1:])


def test_nothing_is_folded_for_a_file() -> None:
    assert folded(TEXT * 9, None) == TEXT * 9


def test_a_command_to_paste_stays_in_one_piece() -> None:
    command = "invoke restore --env=production --backup=20261124T030000Z-abcdef --from=staging"
    lines = folded(f"  next: {command}; or leave it as it is, and look at the state again", 40).split("\n")
    assert any(command in line for line in lines)
    assert max(len(line) for line in lines if command not in line) <= 40


def test_a_word_is_never_broken() -> None:
    path = "/a/very/long/path/that/is/longer/than/the/window/is/wide"
    assert f"  {path}" in folded(f"wrote {path}", 30).split("\n")


def test_a_number_stays_with_its_unit() -> None:
    assert folded("traced: 2 statements in 7.8 s", 28) == "traced: 2 statements in\n  7.8 s"
    assert folded("it held 2 sessions for 20 ms", 26) == "it held 2 sessions for\n  20 ms"


def test_styles_take_no_room() -> None:
    assert folded("\x1b[1mbold\x1b[0m " * 4, 24) == "\x1b[1mbold\x1b[0m " * 4
    assert shown_length("\x1b[1;97;41mx\x1b[0m") == 1


HEADERS = ["environment", "server", "last run"]
ROWS = [["production", "db.example.com:5432/app", "2026-11-26 03:00 UTC succeeded"], ["dev", "-", "-"]]


def shown(width: int | None) -> list[str]:
    return [line.text for line in table(Grid(HEADERS, ROWS), width)]


def test_a_wide_terminal_and_a_file_have_plain_columns() -> None:
    wide = [
        "environment  server                   last run",
        "production   db.example.com:5432/app  2026-11-26 03:00 UTC succeeded",
        "dev          -                        -",
    ]
    assert shown(None) == shown(200) == wide


def test_columns_are_folded_at_words() -> None:
    assert shown(60) == [
        "environment  server                   last run",
        "production   db.example.com:5432/app  2026-11-26 03:00 UTC",
        "                                      succeeded",
        "dev          -                        -",
    ]


def test_where_words_would_be_torn_each_row_is_a_list() -> None:
    assert shown(40) == [
        "production",
        "  server    db.example.com:5432/app",
        "  last run  2026-11-26 03:00 UTC",
        "            succeeded",
        "dev",
    ]


SERVERS = Grid(
    ["environment", "labels", "revision", "last run"],
    [
        ["staging", "-", "c47e05a1936f", "2026-11-26 03:00 UTC succeeded"],
        ["dev", "-", "base", "-"],
    ],
)
BRIEF = Grid(
    ["environment", "labels", "revision", "last run"], [[*SERVERS.rows[0][:3], "2026-11-26"], SERVERS.rows[1]]
)


def test_what_says_nothing_goes_first_then_cells_are_shortened_then_the_widest_is_folded() -> None:
    def at(width: int) -> list[str]:
        lines = [line.text for line in table(SERVERS, width, BRIEF)]
        assert max(map(len, lines)) <= width
        return lines

    assert at(67) == [
        "environment  labels  revision      last run",
        "staging      -       c47e05a1936f  2026-11-26 03:00 UTC succeeded",
        "dev          -       base          -",
    ]
    assert at(60)[:2] == [
        "environment  revision      last run",
        "staging      c47e05a1936f  2026-11-26 03:00 UTC succeeded",
    ]
    assert at(45)[:2] == [
        "environment  labels  revision      last run",
        "staging      -       c47e05a1936f  2026-11-26",
    ]
    assert at(40)[:2] == ["environment  revision      last run", "staging      c47e05a1936f  2026-11-26"]
    assert at(36)[:3] == ["staging", "  revision  c47e05a1936f", "  last run  2026-11-26 03:00 UTC"]


def test_no_row_keeps_its_headers() -> None:
    (line,) = table(Grid(["a", "b"], []), 40)
    assert (line.text, line.heads) == ("a  b", True)


def test_facts_keep_their_two_columns() -> None:
    lines = table(Grid(["", ""], [["tools", "18.6 (wheel): same major as the server"], ["commit", "-"]]), 30)
    assert [line.text for line in lines] == [
        "tools   18.6 (wheel): same",
        "        major as the server",
        "commit  -",
    ]


def test_two_columns_become_two_lines_where_names_are_long() -> None:
    assert columns([("invoke migrate --env=prod", "asks")], 40) == [
        "  invoke migrate --env=prod",
        "      asks",
    ]
