"""PostgreSQL's client programs: which to use, what to say to them, and running them."""

from pgops.pgtools.archive import with_contents
from pgops.pgtools.choice import Choice, NoToolsError, choose_for_dump, choose_for_reading, choose_for_restore
from pgops.pgtools.column_versions import (
    remove_column_versions,
    restorable_archive,
    without_column_versions,
)
from pgops.pgtools.commands import (
    conninfo_database,
    dump_command,
    globals_command,
    list_command,
    psql_command,
    read_command,
    restore_command,
    salvage_command,
    schema_command,
)
from pgops.pgtools.runner import Child, Finished, HostRunner, Runner, ToolError, check, run, running, wait
from pgops.pgtools.toolset import (
    DEFAULT_SOURCES,
    Toolset,
    ToolSource,
    ability_probe,
    embedded_tools,
    host_tools,
    inspect,
    major_of,
    method_of,
    toolset_of,
)

__all__ = [
    "DEFAULT_SOURCES",
    "Child",
    "Choice",
    "Finished",
    "HostRunner",
    "NoToolsError",
    "Runner",
    "ToolError",
    "ToolSource",
    "Toolset",
    "ability_probe",
    "check",
    "choose_for_dump",
    "choose_for_reading",
    "choose_for_restore",
    "conninfo_database",
    "dump_command",
    "embedded_tools",
    "globals_command",
    "host_tools",
    "inspect",
    "list_command",
    "major_of",
    "method_of",
    "psql_command",
    "read_command",
    "remove_column_versions",
    "restorable_archive",
    "restore_command",
    "run",
    "running",
    "salvage_command",
    "schema_command",
    "toolset_of",
    "wait",
    "with_contents",
    "without_column_versions",
]
