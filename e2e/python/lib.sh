# What the tests of the examples in Python share. Sourced by tests/python and tests/mlserver.
# shellcheck shell=bash

PYTHON=$(dirname -- "$(readlink -f -- "${BASH_SOURCE[0]}")")
# shellcheck source=SCRIPTDIR/../stage.sh
. "$PYTHON/../stage.sh"

[[ $FAIRWAY_E2E_BUCKET_CONTROL && $FAIRWAY_E2E_BUCKET == s3://* ]] || { echo "the bucket is not ours"; exit 77; }

# The image, the operator, the credentials, and the sales of a shop in the bucket, without the story and its player.
open_shop() {
  IMAGE=${FAIRWAY_E2E_PYTHON_IMAGE:-$("$PYTHON/image" load)}
  step "the image is there: $IMAGE"
  open_namespace
  python3 "$PYTHON/shop.py" >"$TMP/sales.jsonl"
  (
    set -a
    # shellcheck disable=SC1090 # written by run
    . "$FAIRWAY_E2E_BUCKET_ENV"
    # The secret by a file, not on the command line.
    printf 'user = "%s:%s"\n' "$AWS_ACCESS_KEY_ID" "$AWS_SECRET_ACCESS_KEY" |
      curl -fsS --max-time 20 -K - -H "x-amz-content-sha256: UNSIGNED-PAYLOAD" --aws-sigv4 "aws:amz:$AWS_REGION:s3" \
        -T "$TMP/sales.jsonl" "$AWS_ENDPOINT_URL_S3/${FAIRWAY_E2E_BUCKET#s3://}/sales/sales.jsonl"
  )
  step "the sales are in the bucket"
}

# apply FILE: a manifest of manifests/, filled in.
apply() {
  # shellcheck disable=SC2016 # names in the manifest
  sed -e 's|${registry}|'"$FAIRWAY_E2E_BUCKET/registry|" -e 's|${data}|'"$FAIRWAY_E2E_BUCKET/sales/|" -e 's|${image}|'"$IMAGE|" \
    "$PYTHON/manifests/$1" | k apply -f - >/dev/null
}

# end_of MODEL: the condition by which the model's newest run is over, as "Complete ReasonCode".
end_of() {
  k get trainingruns -o json | python3 -c '
import json, sys
for run in json.load(sys.stdin)["items"]:
    for one in run.get("status", {}).get("conditions", []):
        if run["spec"]["model"] == sys.argv[1] and one["status"] == "True" and one["type"] in ("Complete", "Failed", "Rejected"):
            print(run["metadata"]["name"], one["type"], one.get("reason"), one.get("message"))' "$1"
}

ended() { [[ $(end_of "$1") ]]; }

# forward: the endpoint's Service, at $URL on this machine.
forward() {
  kubectl -n "$NS" port-forward service/shop :80 >"$TMP/forward" 2>&1 &
  FORWARD=$!
  trap 'kill $FORWARD 2>/dev/null || true' EXIT
  until_true 30 "the endpoint is reached from here" grep -q Forwarding "$TMP/forward"
  URL=http://127.0.0.1:$(sed -n 's/^Forwarding from 127.0.0.1:\([0-9]*\) .*/\1/p' "$TMP/forward" | head -n 1)
}

# post PATH BODY: what the endpoint says.
post() { curl -fsS --max-time 5 "$URL$1" -H 'content-type: application/json' -d "$2"; }
