#!/bin/sh
# Starts `gateway` or `state` in a container. Every GATEWAY_* variable is read by the program itself; this maps
# the variables of tatsuworks/gateway's entrypoint to them, so that its manifests keep working:
#   TOKEN NAME PROD REDIS ETCD PPROF ADDR SHARDS INTENTS PSQL SHARDS_PER_POD
# A GATEWAY_* variable that is set wins. Further arguments are passed on. The token stays in the environment: on
# the command line everybody on the host could read it.
set -eu

program=$1
shift

# default NAME value: exports NAME unless it is set and not empty.
default() {
  eval "current=\${$1:-}"
  if [ -z "$current" ] && [ -n "$2" ]; then
    export "$1=$2"
  fi
}

default GATEWAY_PSQL "${PSQL:-}"
default GATEWAY_PROD "${PROD:-1}"

if [ "$program" = state ]; then
  default GATEWAY_ADDR "${ADDR:-0.0.0.0:8080}"
  unset GATEWAY_PPROF
  exec node /app/dist/cmd/state/main.js "$@"
fi

default DISCORD_TOKEN "${TOKEN:-}"
default GATEWAY_NAME "${NAME:-}"
default GATEWAY_REDIS "${REDIS:-}"
default GATEWAY_ETCD "${ETCD:-}"
default GATEWAY_SHARDS "${SHARDS:-}"
default GATEWAY_INTENTS "${INTENTS:-}"
# The pod's network is its own: what reaches these ports is a matter of the network policy.
default GATEWAY_ADDR "${ADDR:-0.0.0.0:50051}"
default GATEWAY_HTTP "${PPROF:-0.0.0.0:6060}"
pod=${HOSTNAME:-$(hostname)}
default GATEWAY_PODID "$pod"
unset TOKEN

# A fixed range per pod of a StatefulSet: gateway-2 with 16 shards a pod has 32 to 47.
if [ -n "${SHARDS_PER_POD:-}" ]; then
  ordinal=${pod##*-}
  case $ordinal in
    '' | *[!0-9]*)
      echo "entrypoint: SHARDS_PER_POD needs a pod name that ends in its number, as gateway-2; it is $pod" >&2
      exit 1
      ;;
  esac
  start=$((ordinal * SHARDS_PER_POD))
  stop=$((start + SHARDS_PER_POD))
  if [ -n "${GATEWAY_SHARDS:-}" ]; then
    if [ "$start" -ge "$GATEWAY_SHARDS" ]; then
      echo "entrypoint: $pod has no shards: it would begin with $start of $GATEWAY_SHARDS" >&2
      exit 1
    fi
    if [ "$stop" -gt "$GATEWAY_SHARDS" ]; then stop=$GATEWAY_SHARDS; fi
  fi
  default GATEWAY_START "$start"
  default GATEWAY_STOP "$stop"
fi

exec node /app/dist/cmd/gateway/main.js "$@"
