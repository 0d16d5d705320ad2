"""squawk's rules that pgops does not report, each with its reason."""

from __future__ import annotations

from collections.abc import Mapping

_STYLE = "a matter of style or of the schema's design; running the migration does no harm"
_CLIENTS = "a brief lock and no data lost; whether clients mind is for the review"
_SET_BY_PGOPS = "every run sets lock_timeout and statement_timeout on every connection"
_ALEMBIC = "Alembic's emitted SQL decides it, not the migration; pgops runs one transaction per revision"

OFF: Mapping[str, str] = {
    "require-lock-timeout": _SET_BY_PGOPS,
    "require-statement-timeout": _SET_BY_PGOPS,
    "require-timeout-settings": _SET_BY_PGOPS,
    "prefer-robust-stmts": _ALEMBIC,
    "transaction-nesting": _ALEMBIC,
    "ban-uncommitted-transaction": _ALEMBIC,
    "require-table-schema": _ALEMBIC,
    "ban-char-field": _STYLE,
    "ban-create-domain-with-constraint": _STYLE,
    "identifier-too-long": "SQLAlchemy refuses such names itself",
    "prefer-bigint-over-int": _STYLE,
    "prefer-bigint-over-smallint": _STYLE,
    "prefer-identity": _STYLE,
    "prefer-repack": "rewriting-table says the same, with the table's size",
    "prefer-text-field": _STYLE,
    "prefer-timestamp-tz": _STYLE,
    "require-enum-value-ordering": _STYLE,
    "ban-add-column": "adding a nullable column is how schemas grow",
    "ban-add-composite-attribute": _CLIENTS,
    "ban-add-enum-value": _CLIENTS,
    "ban-alter-database-options": _CLIENTS,
    "ban-alter-domain-with-add-constraint": _CLIENTS,
    "ban-alter-extension": _CLIENTS,
    "ban-alter-function-options": _CLIENTS,
    "ban-alter-generated-expression": _CLIENTS,
    "ban-alter-identity": _CLIENTS,
    "ban-alter-policy-condition": _CLIENTS,
    "ban-alter-policy-roles": _CLIENTS,
    "ban-alter-role-options": _CLIENTS,
    "ban-alter-row-level-security": _CLIENTS,
    "ban-alter-sequence-values": _CLIENTS,
    "ban-alter-system-options": _CLIENTS,
    "ban-alter-view-options": _CLIENTS,
    "ban-create-policy": _CLIENTS,
    "ban-detach-inheritance": _CLIENTS,
    "ban-disable-trigger": _CLIENTS,
    "ban-drop-constraint": _CLIENTS,
    "ban-drop-domain": _CLIENTS,
    "ban-drop-extension": _CLIENTS,
    "ban-drop-function": _CLIENTS,
    "ban-drop-generated-expression": _CLIENTS,
    "ban-drop-index": "require-concurrent-index-deletion covers it",
    "ban-drop-not-null": _CLIENTS,
    "ban-drop-policy": _CLIENTS,
    "ban-drop-sequence": _CLIENTS,
    "ban-drop-type": _CLIENTS,
    "ban-drop-view": _CLIENTS,
    "ban-new-write-restriction": _CLIENTS,
    "ban-replace-view-function": _CLIENTS,
    "ban-replica-identity": _CLIENTS,
    "ban-revoke": _CLIENTS,
    "ban-set-default": _CLIENTS,
    "ban-set-schema": _CLIENTS,
    "renaming-object": _CLIENTS,
}
"""Rule -> why it is off. The names are known in ``hazards.exclude`` all the same."""
