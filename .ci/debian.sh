#!/bin/bash
# A root directory of Debian's packages, for images where no registry can be reached. To be sourced.

# debian_root SUITE PACKAGES     prints the directory; the caller removes it. PACKAGES are separated by commas.
debian_root() {
    local suite=$1 packages=$2 root mirror
    if ! command -v debootstrap >/dev/null; then
        echo "debian: installing debootstrap" >&2
        apt-get -qq update
        DEBIAN_FRONTEND=noninteractive apt-get -qq install --no-install-recommends -y \
            debootstrap debian-archive-keyring >/dev/null
    fi
    # The mirror that this machine's own apt uses; debootstrap's default where there is none of Debian's.
    # shellcheck disable=SC2016  # apt-get expands these names, not the shell
    mirror=$(apt-get indextargets --format '$(ORIGIN)|$(COMPONENT)|$(SITE)|$(CODENAME)' 2>/dev/null |
        awk -F'|' '$1 == "Debian" && $2 == "main" && $4 !~ /-/ { print $3; exit }')
    root=$(mktemp -d /var/tmp/pgops-image.XXXXXX)
    if ! debootstrap --variant=minbase --include="$packages" "$suite" "$root" ${mirror:+"$mirror"} >"$root.log" 2>&1; then
        echo "debian: debootstrap failed:" >&2
        tail -n 20 "$root.log" >&2
        rm -rf "$root" "$root.log"
        return 1
    fi
    rm -f "$root.log"
    rm -rf "$root"/var/cache/apt/* "$root"/var/lib/apt/lists/* "$root"/usr/share/{doc,man,locale}/*
    echo "$root"
}
