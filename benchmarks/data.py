"""Data to back up and restore: made from a seed, the same in every run, loaded with COPY."""

from __future__ import annotations

import io
import itertools
import random
from collections.abc import Iterable, Iterator, Mapping, Sequence

from pgops import postgres
from pgops.postgres import Connection, Target

_SEED = 20261122
# What an entry with its chapters and retries takes on disk, indexes included; measured.
_BYTES_PER_ENTRY = 12_200
_CHAPTERS, _RETRIES = 4, 3
_BATCH = 2_000
# Of a text: how much of it is said in phrases of its own.
_PHRASES = 0.7
_ONSETS = "b bl br c ch cl cr d dr f fl fr g gl gr h j k l m n p pl pr qu r s sc sh sl sm sp st str t th tr tw v w wh y"
_NUCLEI = "a e i o u ea ou ai ee oo"
_CODAS = "n r s t l d m nd st ng ck nt ll ss"
_STATES = ("pending", "processing", "completed", "failed", "archived")

# A session of pgops looks for names in pg_catalog alone.
_PUBLIC = {"search_path": "public"}


def fill_knowledge_base(target: Target, size: int) -> None:
    """Fill the three tables of an empty, migrated knowledge base to about ``size`` bytes; then ANALYZE."""
    count = max(10, size // _BYTES_PER_ENTRY)
    text = Prose()
    with postgres.connected(target, settings=_PUBLIC) as connection:
        for first in range(1, count + 1, _BATCH):
            entries = {number: _contents(text) for number in range(first, min(first + _BATCH, count + 1))}
            _copy(connection, _KNOWLEDGE, _entries(entries, text))
            _copy(connection, _CHAPTER, _chapters(entries, text))
            _copy(connection, _RETRY, _retries(entries, text))
        for table in ("knowledge", "chapters_v1", "retry_history"):
            postgres.execute(
                connection,
                f"SELECT setval(pg_get_serial_sequence('{table}', 'id'), (SELECT max(id) FROM {table}))",
            )
        postgres.execute(connection, "VACUUM (ANALYZE)")


def fill_small_tables(target: Target, count: int, rows: int) -> None:
    """``count`` tables of ``rows`` rows each, with a key and an index."""
    text = Prose()
    with postgres.connected(target, settings=_PUBLIC) as connection:
        for number in range(count):
            postgres.execute(
                connection,
                f"CREATE TABLE small_{number} (id bigint PRIMARY KEY, name text NOT NULL, note text)",
            )
            _copy(
                connection,
                f"small_{number} (id, name, note)",
                ((str(each), text.words(3), text.words(12)) for each in range(rows)),
            )
            postgres.execute(connection, f"CREATE INDEX ON small_{number} (name)")
        postgres.execute(connection, "VACUUM (ANALYZE)")


def fill_huge_table(target: Target, size: int) -> None:
    """One table of about ``size`` bytes."""
    text = Prose()
    with postgres.connected(target, settings=_PUBLIC) as connection:
        postgres.execute(
            connection, "CREATE TABLE huge (id bigint PRIMARY KEY, made_at timestamptz, note text NOT NULL)"
        )
        rows = ((str(each), _moment(each), text.sentences(4)) for each in range(max(100, size // 340)))
        for batch in _batches(rows, 20_000):
            _copy(connection, "huge (id, made_at, note)", batch)
        postgres.execute(connection, "VACUUM (ANALYZE)")


def counted(target: Target) -> dict[str, int]:
    """Size of a database in bytes, its tables and their rows."""
    with postgres.connected(target) as connection:
        size = postgres.fetch_value(connection, "SELECT pg_database_size(current_database())")
        tables, rows = postgres.fetch_all(
            connection,
            "SELECT count(*), sum(reltuples)::bigint FROM pg_class"
            " WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace",
        )[0]
    return {"bytes": int(size), "tables": int(tables), "rows": int(rows or 0)}


class Prose:
    """Words of a made-up language, the frequent ones short, and texts that come back to their own phrases.

    Compressors find in it about what they find in documentation. The docstrings of Python's standard library
    (16 MB, each once) shrink to 1/3.9 with ``gzip -6`` at 27 MB/s, to 1/3.9 with ``zstd -3``, and to 1/2.2
    with PostgreSQL's pglz at 50 MB/s; these to 1/4.0 at 18 MB/s, 1/4.6, and 1/2.4 at 43 MB/s. Words drawn
    without regard to what was said before would take gzip three times as long as real text does, and
    flatter whatever is compared with it.
    """

    def __init__(self, seed: int = _SEED) -> None:
        self._random = random.Random(seed)
        codas = ["", "", "", *_CODAS.split()]
        syllables = [a + b + c for a in _ONSETS.split() for b in _NUCLEI.split() for c in codas]
        words = [
            "".join(self._random.choices(syllables, k=1 + (rank > 150) + (rank > 4000)))
            for rank in range(20_000)
        ]
        weights = list(itertools.accumulate(1 / (rank + 2) for rank in range(20_000)))
        self._words = self._random.choices(words, cum_weights=weights, k=400_000)

    def words(self, count: int) -> str:
        """So many words."""
        at = self._random.randrange(len(self._words) - count)
        return " ".join(self._words[at : at + count])

    def sentence(self) -> str:
        """One that has nothing to do with any other."""
        return self.words(self._random.randint(6, 18)).capitalize() + "."

    def sentences(self, count: int) -> str:
        """So many, each on its own."""
        return " ".join(self.sentence() for _ in range(count))

    def phrases(self) -> list[str]:
        """What the texts of one subject say again and again."""
        return [self.words(self._random.randint(3, 9)) for _ in range(50)]

    def paragraphs(self, least: int, most: int, phrases: Sequence[str]) -> str:
        """Several on the subject of these phrases, with empty lines between, as COPY escapes them."""
        count = self._random.randint(least, most)
        return r"\n\n".join(" ".join(self._on_subject(phrases) for _ in range(4)) for _ in range(count))

    def _on_subject(self, phrases: Sequence[str]) -> str:
        parts = [
            self._random.choice(phrases)
            if self._random.random() < _PHRASES
            else self.words(self._random.randint(2, 5))
            for _ in range(self._random.randint(2, 4))
        ]
        return " ".join(parts).capitalize() + "."

    def choice(self, words: Sequence[str]) -> str:
        """One of them."""
        return self._random.choice(words)


_KNOWLEDGE = "knowledge (id, title, slug, summary, content, content_hash, source_url, metadata, tags, status, created_at)"
_CHAPTER = (
    "chapters_v1 (id, knowledge_id, position, title, content, word_count, metadata, status, created_at)"
)
_RETRY = (
    "retry_history (id, knowledge_id, attempt, state, error_code, error_message, error_details, scheduled_at)"
)


def _contents(text: Prose) -> list[str]:
    """The chapters of one entry."""
    phrases = text.phrases()
    return [text.paragraphs(1, 6, phrases) for _ in range(_CHAPTERS)]


def _entries(chapters: Mapping[int, Sequence[str]], text: Prose) -> Iterator[tuple[str, ...]]:
    """An entry's content is that of its chapters: they are made from it."""
    for number, contents in chapters.items():
        yield (
            str(number),
            text.words(6).capitalize(),
            f"entry-{number}",
            text.sentences(2),
            r"\n\n".join(contents),
            f"{number * 0x9E3779B97F4A7C15 % 2**64:016x}",
            f"https://example.org/{number}",
            f'{{"pages": {number % 300}, "source": "{text.words(1)}"}}',
            f"{{{text.words(1)},{text.words(1)}}}",
            text.choice(_STATES),
            _moment(number),
        )


def _chapters(chapters: Mapping[int, Sequence[str]], text: Prose) -> Iterator[tuple[str, ...]]:
    for number, contents in chapters.items():
        for position, content in enumerate(contents, 1):
            yield (
                str((number - 1) * _CHAPTERS + position),
                str(number),
                str(position),
                text.words(5).capitalize(),
                content,
                str(content.count(" ") + 1),
                f'{{"level": {position}}}',
                text.choice(_STATES),
                _moment(number),
            )


def _retries(numbers: Iterable[int], text: Prose) -> Iterator[tuple[str, ...]]:
    for number in numbers:
        for attempt in range(1, _RETRIES + 1):
            yield (
                str((number - 1) * _RETRIES + attempt),
                str(number),
                str(attempt),
                text.choice(("scheduled", "succeeded", "failed")),
                f"E{number % 90:03}",
                text.sentences(1),
                '{"worker": 3}',
                _moment(number + attempt),
            )


def _moment(number: int) -> str:
    return f"2026-{1 + number % 12:02}-{1 + number % 28:02} {number % 24:02}:{number % 60:02}:00+00"


def _copy(connection: Connection, columns: str, rows: Iterable[tuple[str, ...]]) -> None:
    stream = io.StringIO("".join("\t".join(row) + "\n" for row in rows))
    with connection.cursor() as cursor:
        cursor.copy_expert(f"COPY {columns} FROM STDIN", stream)


def _batches(rows: Iterable[tuple[str, ...]], size: int) -> Iterator[list[tuple[str, ...]]]:
    iterator = iter(rows)
    while batch := list(itertools.islice(iterator, size)):
        yield batch
