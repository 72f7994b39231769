#!/bin/sh
# Installs what the system tests need on Debian 12, as root: Prometheus, Node.js, Chromium, and a Docker engine with its
# plugins for compose and builds, which Debian has only since its next release.
set -eu
export DEBIAN_FRONTEND=noninteractive
log=$(mktemp)
folder=$(mktemp -d)

quietly() { "$@" >"$log" 2>&1 || { tail -n 20 "$log" >&2; exit 1; }; }

quietly apt-get update
quietly apt-get install -y --no-install-recommends prometheus chromium mmdebstrap docker.io iptables tini
command -v npm >/dev/null || quietly apt-get install -y --no-install-recommends nodejs npm

plugins=/usr/libexec/docker/cli-plugins
if ! docker compose version >/dev/null 2>&1 || ! docker buildx version >/dev/null 2>&1; then
    # Only these two files are taken; package lists and sources of this machine stay as they are.
    sed -e 's/bookworm-updates//; s/bookworm/trixie/' /etc/apt/sources.list.d/debian.sources | awk '/^$/{exit} {print}' \
        >"$folder/trixie.sources"
    mkdir -p "$folder/lists/partial" "$folder/cache/archives/partial" "$plugins"
    next="-o Dir::Etc::sourcelist=/dev/null -o Dir::Etc::sourceparts=$folder -o Dir::State::lists=$folder/lists
        -o Dir::Cache=$folder/cache -o APT::Sandbox::User=root"
    cd "$folder"
    # shellcheck disable=SC2086 # several options
    {
        quietly apt-get $next update
        quietly apt-get $next download docker-compose docker-buildx
    }
    for package in *.deb; do dpkg-deb --extract "$package" content; done
    cp content/usr/libexec/docker/cli-plugins/* "$plugins"
fi
rm -rf "$folder" "$log"
