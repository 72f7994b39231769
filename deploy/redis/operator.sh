#!/bin/sh
# redis-cli as the operator: `docker compose -f deploy/docker-compose.yml exec redis sh /etc/gradclinic/operator.sh INFO`.
REDISCLI_AUTH="$GRADCLINIC_OPERATOR_PASSWORD" exec redis-cli --user operator --no-auth-warning "$@"
