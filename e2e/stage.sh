# What tests in bash are written with, as stage.py is for those in Python. To be sourced by a file of tests/.
# shellcheck shell=bash

E2E=$(dirname -- "$(readlink -f -- "${BASH_SOURCE[0]}")")
NS=$FAIRWAY_E2E_NAMESPACE
TMP=$FAIRWAY_E2E_TMP

k() { kubectl -n "$NS" --request-timeout=20s "$@"; }
step() { printf '%4s s  %s\n' "$SECONDS" "$*"; }
fail() { echo "FAILED: $*" >&2; exit 1; }

# until_true SECONDS WHAT COMMAND...: waits, and says what did not come.
until_true() {
  local end=$((SECONDS + $1)) what=$2
  shift 2
  until "$@" &>/dev/null; do
    ((SECONDS < end)) || fail "not within its time: $what"
    sleep 1
  done
  step "$what"
}

# The operator, and the bucket's credentials for pods.
open_namespace() {
  "$E2E/install" "$NS"
  k create secret generic bucket --from-env-file="$FAIRWAY_E2E_BUCKET_ENV" >/dev/null
  step "the operator runs"
}

# That, the manifests of the story in $TMP/manifests, and its player, who opens a shop with past sales in the bucket.
open_story() {
  local file
  open_namespace
  mkdir "$TMP/manifests"
  for file in shop story; do
    sed -e "s|\${registry}|$FAIRWAY_E2E_BUCKET/registry|" -e "s|\${data}|$FAIRWAY_E2E_BUCKET/sales/|" \
      "$E2E/story/$file.yaml" >"$TMP/manifests/$file.yaml"
  done
  k create configmap manifests --from-file="$TMP/manifests" >/dev/null
  sed -e "s|@IMAGE@|$FAIRWAY_E2E_IMAGE|" -e "s|@NAMESPACE@|$NS|" "$E2E/story/player.yaml" | k apply -f - >/dev/null
  until_true 120 "the shop is open: its past sales are in the bucket" is_open
}

is_open() { k logs job/story 2>/dev/null | grep -q 'the shop is open'; }
