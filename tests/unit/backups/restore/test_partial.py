"""Which entries of an archive a partial restore takes."""

from __future__ import annotations

from pgops.backups.manifest.manifest import Table
from pgops.backups.restore.partial import filtered_list

LISTING = """;
; Archive created at 2026-11-22 17:15:00 UTC
;
2; 3079 16385 EXTENSION - citext
3601; 0 0 COMMENT - EXTENSION citext
217; 1259 16400 TABLE public knowledge postgres
218; 1259 16401 TABLE public odd name with spaces postgres
3593; 0 16400 TABLE DATA public knowledge postgres
3594; 0 16401 TABLE DATA public odd name with spaces postgres
3595; 0 16402 TABLE DATA public knowledge_old postgres
3602; 0 0 SEQUENCE SET public knowledge_id_seq postgres
3440; 2606 16410 CONSTRAINT public knowledge knowledge_pkey postgres
3441; 2606 16411 FK CONSTRAINT public chapters chapters_fkey postgres
3442; 2620 16412 TRIGGER public knowledge shout postgres
3443; 3466 16413 EVENT TRIGGER - watch postgres
3596; 0 16403 MATERIALIZED VIEW DATA public by_mood postgres
3597; 2613 16404 BLOB - 16404 postgres
3598; 0 0 BLOBS - BLOBS
3599; 0 0 ACL public TABLE knowledge postgres
"""


def test_definitions_stay_and_only_the_chosen_rows() -> None:
    chosen = (Table("public", "knowledge", 1, 1), Table("public", "odd\nname with spaces", 1, 1))
    assert [line.split(" ", 3)[3] for line in filtered_list(LISTING, chosen, "UTF8").splitlines()] == [
        "EXTENSION - citext",
        "TABLE public knowledge postgres",
        "TABLE public odd name with spaces postgres",
        "TABLE DATA public knowledge postgres",
        "TABLE DATA public odd name with spaces postgres",
        "SEQUENCE SET public knowledge_id_seq postgres",
        "CONSTRAINT public knowledge knowledge_pkey postgres",
    ]


def test_names_are_known_in_the_archives_encoding_and_across_odd_spaces() -> None:
    said = "3593; 0 16400 TABLE DATA public grün postgres\n".encode("latin-1").decode("utf-8", "replace")
    assert filtered_list(said, (Table("public", "grün", 1, 1),), "LATIN1") == said
    odd = "3594; 0 16401 TABLE DATA public a\u2028b postgres\n"
    assert filtered_list(odd, (Table("public", "a\u2028b", 1, 1),), "UTF8") == odd
