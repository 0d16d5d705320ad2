#!/bin/bash
# A Docker engine for the tests, on a machine that has none running.
#
#   .ci/docker-engine.sh start    answers at once when an engine answers; else installs Debian's docker.io
#                                 where dockerd is missing, starts dockerd detached and waits until it answers
#   .ci/docker-engine.sh stop     ends the engine, if and only if this script started it
#
# Needs root to start. Tried in containers and small virtual machines, where overlayfs, iptables or the
# cgroup mounts may be missing: each attempt below gives up one of them.
set -euo pipefail

state=/run/pgops-engine
log=/var/log/pgops-dockerd.log

say() { printf 'docker-engine: %s\n' "$*" >&2; }

answers() { timeout 10 docker version --format '{{.Server.Version}}' >/dev/null 2>&1; }

install_engine() {
    command -v dockerd >/dev/null && command -v docker >/dev/null && return
    if ! command -v apt-get >/dev/null; then
        say "there is no dockerd and no apt-get to install it with"
        exit 1
    fi
    say "installing docker.io"
    apt-get -qq update
    DEBIAN_FRONTEND=noninteractive apt-get -qq install --no-install-recommends -y \
        docker.io iptables ca-certificates >/dev/null
}

# A container or a minimal virtual machine may have no cgroup file systems at all; dockerd wants them.
mount_cgroups() {
    [ -e /sys/fs/cgroup/cgroup.controllers ] && return
    grep -qs ' cgroup2\? ' /proc/mounts && return
    mkdir -p /sys/fs/cgroup
    mount -t cgroup2 cgroup2 /sys/fs/cgroup || say "cannot mount the cgroup file system; going on without"
}

# Starts dockerd with the given flags; true once it answers, false when it died or never answered.
try_engine() {
    local pid deadline
    say "starting dockerd${*:+ with $*}"
    rm -f /var/run/docker.pid
    printf '\n=== dockerd %s\n' "$*" >>"$log"
    setsid nohup dockerd "$@" >>"$log" 2>&1 </dev/null &
    pid=$!
    deadline=$((SECONDS + 45))
    while [ "$SECONDS" -lt "$deadline" ]; do
        if answers; then
            mkdir -p "$state"
            echo "$pid" >"$state/pid"
            return 0
        fi
        kill -0 "$pid" 2>/dev/null || return 1
        sleep 0.2
    done
    kill "$pid" 2>/dev/null || true
    wait "$pid" 2>/dev/null || true
    return 1
}

start() {
    if command -v docker >/dev/null && answers; then
        say "an engine answers already ($(docker version --format '{{.Server.Version}}'))"
        return
    fi
    if [ "$(id -u)" -ne 0 ]; then
        say "no engine answers, and starting one needs root"
        exit 1
    fi
    install_engine
    mount_cgroups
    try_engine ||
        try_engine --storage-driver=vfs ||
        try_engine --iptables=false --ip6tables=false ||
        try_engine --iptables=false --ip6tables=false --storage-driver=vfs ||
        {
            say "no way to start dockerd worked; the end of $log says why:"
            tail -n 20 "$log" >&2
            exit 1
        }
    say "the engine answers ($(docker version --format '{{.Server.Version}}')), log in $log"
}

stop() {
    if [ ! -f "$state/pid" ]; then
        say "this script started no engine; nothing to stop"
        return
    fi
    local pid deadline
    pid=$(cat "$state/pid")
    # The number may belong to another process by now: end it only if it is a dockerd.
    if [ "$(cat "/proc/$pid/comm" 2>/dev/null)" = dockerd ]; then
        kill "$pid"
        deadline=$((SECONDS + 30))
        while kill -0 "$pid" 2>/dev/null && [ "$SECONDS" -lt "$deadline" ]; do sleep 0.2; done
        say "the engine is stopped"
    fi
    rm -rf "$state"
}

case "${1:-start}" in
start) start ;;
stop) stop ;;
*)
    say "usage: $0 start|stop"
    exit 2
    ;;
esac
