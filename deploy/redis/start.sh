#!/bin/sh
# Starts Redis with one account per role. Passwords come from the environment and reach Redis only as hashes in a
# file that lies in memory.
set -eu
umask 077

hash() { printf %s "$1" | sha256sum | cut -d ' ' -f 1; }

# What gradclinic and its queue use: their own keys, and no command that administers the server or wipes it.
# `client` lets RQ name its connections and list its workers; `info` gives the server's version.
rights='~gradclinic:* ~rq:* &* +@all -@admin -@dangerous +info +client|setname +client|list +client|id'

# Who operates Redis by hand (docs/operations): reads and mends the same keys, rewrites and copies the files, follows as a
# replica. `config` cannot move the files: Redis protects their places.
operations='~gradclinic:* ~rq:* &* +@all -@admin -@dangerous +info +keys +slowlog +client|list +bgrewriteaof +bgsave +lastsave +config|get +config|set +replicaof +role +psync +replconf'

# `default` is off for callers, yet may do everything: Redis replays its append-only file as that user, and would refuse
# the transactions in it, which is to say lose them, if the user had fewer rights. `health` is for the health check.
cat >/tmp/users.acl <<END
user default off resetpass ~* &* +@all
user health on nopass resetkeys resetchannels -@all +ping
user service on #$(hash "$GRADCLINIC_SERVICE_PASSWORD") $rights
user worker on #$(hash "$GRADCLINIC_WORKER_PASSWORD") $rights
END
if [ -n "${GRADCLINIC_OPERATOR_PASSWORD:-}" ]; then
    echo "user operator on #$(hash "$GRADCLINIC_OPERATOR_PASSWORD") $operations" >>/tmp/users.acl
fi

exec redis-server /etc/gradclinic/redis.conf --maxmemory "$REDIS_MAXMEMORY"
