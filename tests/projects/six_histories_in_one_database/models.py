"""The tables of each history."""

from sqlalchemy import Column, ForeignKey, Integer, MetaData, Table, Text

METADATA = {name: MetaData() for name in ("library", "billing", "shipping", "people", "search", "audit")}

Table("book", METADATA["library"], Column("id", Integer, primary_key=True), Column("title", Text))
for _name in ("shipping", "people", "search", "audit"):
    Table(f"{_name}_item", METADATA[_name], Column("id", Integer, primary_key=True))
# A bill is for a book, which is another history's.
Table("book", METADATA["billing"], Column("id", Integer, primary_key=True), Column("title", Text))
Table(
    "bill",
    METADATA["billing"],
    Column("id", Integer, primary_key=True),
    Column("book_id", Integer, ForeignKey("book.id")),
)
