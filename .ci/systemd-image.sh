#!/bin/bash
# Makes the image pgops-systemd:trixie from Debian's packages: a machine with systemd, cron and a PostgreSQL server, for the
# trial of backup.schedule --install.
set -euo pipefail

image=pgops-systemd:trixie
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

# shellcheck source=.ci/debian.sh
. "$here/debian.sh"

say() { printf 'systemd-image: %s\n' "$*" >&2; }

if docker image inspect "$image" >/dev/null 2>&1; then
    say "$image is there already"
    exit 0
fi
say "building $image from Debian trixie (about two minutes)"
root=$(debian_root trixie systemd-sysv,dbus,cron,python3,postgresql-17,postgresql-client-17)
trap 'rm -rf "$root"' EXIT
# In a container there is nothing to be logged in at, and no hardware.
chroot "$root" systemctl mask getty.target systemd-udevd.service systemd-networkd-wait-online.service >/dev/null 2>&1
tar -C "$root" -c . | docker import -c 'CMD ["/sbin/init"]' -c 'ENV LANG=C.UTF-8' - "$image" >/dev/null
say "$image is ready"
