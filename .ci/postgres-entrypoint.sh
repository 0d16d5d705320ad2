#!/bin/bash
# Entrypoint of the test image: honours what pgops and compose files expect of a `postgres` image.
#
#   POSTGRES_USER, POSTGRES_PASSWORD, POSTGRES_DB, POSTGRES_INITDB_ARGS (each also as …_FILE)
#   POSTGRES_HOST_AUTH_METHOD, PGDATA, /docker-entrypoint-initdb.d/*.{sh,sql,sql.gz}
#
# As in the official image, the first start initialises the data behind a temporary server that listens on
# the Unix socket only, so a client that takes the socket for readiness is misled here too.
set -euo pipefail

fail() {
    printf 'entrypoint: error: %s\n' "$*" >&2
    exit 1
}

# Takes VARIABLE from the environment or from the file that VARIABLE_FILE names, not from both.
from_environment_or_file() {
    local variable=$1 default=${2:-} file_variable="${1}_FILE"
    if [ -n "${!variable:-}" ] && [ -n "${!file_variable:-}" ]; then
        fail "both $variable and $file_variable are set"
    fi
    if [ -n "${!variable:-}" ]; then
        :
    elif [ -n "${!file_variable:-}" ]; then
        export "$variable=$(<"${!file_variable}")"
    else
        export "$variable=$default"
    fi
    unset "$file_variable"
}

on_socket() {
    PGHOST='' PGHOSTADDR='' PGPASSWORD="$POSTGRES_PASSWORD" \
        psql -v ON_ERROR_STOP=1 --no-psqlrc --username "$POSTGRES_USER" --no-password "$@"
}

initialise() {
    [ -n "$POSTGRES_PASSWORD" ] || [ "${POSTGRES_HOST_AUTH_METHOD:-}" = trust ] ||
        fail "the data directory is empty and POSTGRES_PASSWORD is not set; set it, or POSTGRES_HOST_AUTH_METHOD=trust"

    # The compose file may hold several options and quotes in POSTGRES_INITDB_ARGS: the shell splits them.
    eval "initdb --username=\"\$POSTGRES_USER\" --pwfile=<(printf '%s\n' \"\$POSTGRES_PASSWORD\") $POSTGRES_INITDB_ARGS"

    printf '\nhost all all all %s\n' \
        "${POSTGRES_HOST_AUTH_METHOD:-$(postgres -C password_encryption)}" >>"$PGDATA/pg_hba.conf"

    pg_ctl -D "$PGDATA" -o "-c listen_addresses='' -p 5432" -w start
    if [ "$POSTGRES_DB" != postgres ]; then
        on_socket --dbname postgres --set db="$POSTGRES_DB" <<<'CREATE DATABASE :"db";'
    fi
    local script
    for script in /docker-entrypoint-initdb.d/*; do
        case "$script" in
        *.sh)
            # shellcheck source=/dev/null
            if [ -x "$script" ]; then "$script"; else . "$script"; fi
            ;;
        *.sql) on_socket --dbname "$POSTGRES_DB" --file "$script" ;;
        *.sql.gz) gunzip -c "$script" | on_socket --dbname "$POSTGRES_DB" ;;
        esac
    done
    pg_ctl -D "$PGDATA" -m fast -w stop
    printf 'entrypoint: the data directory is initialised\n'
}

case "${1:-postgres}" in
-*) set -- postgres "$@" ;;
postgres) ;;
*) exec "$@" ;;
esac

if [ "$(id -u)" -eq 0 ]; then
    mkdir -p "$PGDATA" /var/run/postgresql
    chmod 0700 "$PGDATA"
    chmod 3777 /var/run/postgresql
    find "$PGDATA" \! -user postgres -exec chown postgres '{}' +
    exec setpriv --reuid=postgres --regid=postgres --init-groups "${BASH_SOURCE[0]}" "$@"
fi

if [ ! -s "$PGDATA/PG_VERSION" ]; then
    from_environment_or_file POSTGRES_PASSWORD
    from_environment_or_file POSTGRES_USER postgres
    from_environment_or_file POSTGRES_DB "$POSTGRES_USER"
    from_environment_or_file POSTGRES_INITDB_ARGS
    initialise
fi
exec "$@"
