#!/bin/bash
# Makes the image postgres:<major> from Debian's packages, for engines that can reach no image registry.
#
#   .ci/postgres-image.sh [17|15]                does nothing when the engine has that image already
#   .ci/postgres-image.sh [17|15] pgbackrest     the image pgops-pgbackrest:<major>: with pgBackRest and an SSH server
set -euo pipefail

major=${1:-17}
packages="postgresql-$major,postgresql-client-$major"
case "${2:-}" in
'') image=postgres:$major ;;
pgbackrest)
    image=pgops-pgbackrest:$major
    packages+=,pgbackrest,openssh-server
    ;;
*)
    echo "postgres-image: $2 is not known; known: pgbackrest" >&2
    exit 2
    ;;
esac
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

# shellcheck source=.ci/debian.sh
. "$here/debian.sh"

say() { printf 'postgres-image: %s\n' "$*" >&2; }

case "$major" in
17) suite=trixie ;;
15) suite=bookworm ;;
*)
    say "no Debian release is known to carry PostgreSQL $major; known: 15, 17"
    exit 2
    ;;
esac

if docker image inspect "$image" >/dev/null 2>&1; then
    say "$image is there already"
    exit 0
fi
say "building $image from Debian $suite (about a minute)"
root=$(debian_root "$suite" "$packages")
trap 'rm -rf "$root"' EXIT

# Debian makes a cluster of its own at installation; ours is made at the first start.
rm -rf "$root/var/lib/postgresql/$major" "$root/etc/postgresql/$major"
mkdir -p "$root/docker-entrypoint-initdb.d" "$root/var/lib/postgresql/data"
chroot "$root" chown postgres:postgres /var/lib/postgresql/data
chmod 1777 "$root/var/lib/postgresql/data"
sed -i "s/^#listen_addresses = .*/listen_addresses = '*'/" \
    "$root/usr/share/postgresql/$major/postgresql.conf.sample"
install -m 0755 "$here/postgres-entrypoint.sh" "$root/usr/local/bin/docker-entrypoint.sh"

tar -C "$root" -c . | docker import \
    -c 'ENTRYPOINT ["docker-entrypoint.sh"]' \
    -c 'CMD ["postgres"]' \
    -c "ENV PG_MAJOR=$major" \
    -c 'ENV LANG=C.UTF-8' \
    -c 'ENV PGDATA=/var/lib/postgresql/data' \
    -c "ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:/usr/lib/postgresql/$major/bin" \
    -c 'VOLUME /var/lib/postgresql/data' \
    -c 'EXPOSE 5432' \
    - "$image-imported" >/dev/null
# `docker import` cannot set the stop signal, and without SIGINT the server waits for its clients to leave.
printf 'FROM %s\nSTOPSIGNAL SIGINT\n' "$image-imported" |
    DOCKER_BUILDKIT=0 docker build --quiet --tag "$image" - >/dev/null 2>"$root.log" ||
    { cat "$root.log" >&2; exit 1; }
rm -f "$root.log"
docker image rm "$image-imported" >/dev/null
say "$image is ready"
