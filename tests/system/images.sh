#!/bin/sh
# Makes the base images that the stack is built from out of Debian packages, under their upstream tags, for engines
# that cannot pull. An image that is already there stays. Wants root, mmdebstrap and DOCKER_HOST.
set -eu
folder=${1:?folder for the archives}
mkdir -p "$folder/context"

present() { docker image inspect "$1" >/dev/null 2>&1; }

# debian TAG PACKAGES...: an image of Debian 12 with these packages
debian() {
    tag=$1 archive=$folder/$1.tar
    shift
    [ -f "$archive" ] || {
        mmdebstrap --quiet --variant=minbase --include="$(echo "$*" | tr ' ' ,)" bookworm "$archive.part.tar"
        mv "$archive.part.tar" "$archive"
    }
    present "debian-$tag" || docker import "$archive" "debian-$tag" >/dev/null
}

# image TAG: an image from the Dockerfile on standard input
image() { docker build --quiet --tag "$1" --file - "$folder/context" >/dev/null; }

present python:3.11-slim || {
    debian python python3 python3-pip python3-venv python-is-python3 ca-certificates
    echo 'FROM debian-python' | image python:3.11-slim
}
present redis:7.2 || {
    debian redis redis-server
    image redis:7.2 <<'END'
FROM debian-redis
RUN usermod --uid 999 redis && mkdir /data && chown redis /data
WORKDIR /data
CMD ["redis-server"]
END
}
present prom/prometheus:v2.53.5 || {
    debian prometheus prometheus
    image prom/prometheus:v2.53.5 <<'END'
FROM debian-prometheus
RUN mkdir -p /prometheus && chown nobody /prometheus
USER nobody
ENTRYPOINT ["prometheus"]
CMD ["--config.file=/etc/prometheus/prometheus.yml", "--storage.tsdb.path=/prometheus"]
END
}
