#!/usr/bin/env bash
# Everything about speed that needs a GPU, one folder of results for each: tools/bench_gpu.sh OUT DEV [TCTRACK_COPY]
#
# DEV: folder of SEQUENCE/groundtruth.txt with pictures. TCTRACK_COPY: the published code, timed in the same run.
set -euo pipefail

[ $# -ge 2 ] || { sed -n '2,5s/^# \{0,1\}//p' "$0"; exit 2; }
out=$1 dev=$2 published=${3:+--published $3}
bench="onlinetada bench --device cuda --seconds 5"

pytest -m gpu tests/trackers/runtime                                   # the graph gives the plain path's boxes
for dtype in float32 bf16; do
    # the step and whole updates, captured and eager
    $bench --model tctrack --random-weights --dtype $dtype --out "$out/tctrack_$dtype" $published
    $bench --model tctrack --random-weights --dtype $dtype --batch 64 --out "$out/tctrack_${dtype}_64"
    $bench --dtype $dtype --growth --out "$out/default_$dtype"
    $bench --dtype $dtype --batch 16 --out "$out/default_${dtype}_16"
    $bench --dtype $dtype --runtime torch --out "$out/default_${dtype}_plain"
    python "$(dirname "$0")/bench_lockstep.py" --root "$dev" --runs 64 --device cuda --dtype $dtype \
        --out "$out/lockstep_$dtype"
done
