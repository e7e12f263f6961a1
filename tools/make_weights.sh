#!/usr/bin/env bash
# From raw data to the file that ships, in three commands: pack, train, ship. Whatever is done already is not done
# again: packed material is used as it is, and a training that was stopped goes on.
#
#   tools/make_weights.sh DATA OUT [RECIPE [WEIGHTS_FOLDER [options of onlinetada train]]]
#
# DATA    raw data sets, laid out as the recipe's material file says
# OUT     folder for packed material, log, checkpoint, weights
# RECIPE  by default configs/compact_cpu.yaml; on a GPU configs/compact.yaml, with --device cuda --compile at the end
set -euo pipefail
if [ $# -lt 2 ]; then
    sed -n '2,9s/^# \{0,1\}//p' "$0"
    exit 2
fi
here=$(cd "$(dirname "$0")/.." && pwd)
data=$1 out=$2 recipe=${3:-$here/configs/compact_cpu.yaml} into=${4:-}
material=$(sed -n 's/^material: *//p' "$recipe")
material=$(dirname "$recipe")/${material:-material.yaml}
name=$(sed -n 's/^name: *//p' "$recipe")
export MALLOC_MMAP_THRESHOLD_=2000000000 MALLOC_TRIM_THRESHOLD_=4000000000 # large buffers stay with the process

[ -e "$out/packed/index.json" ] || onlinetada data pack "$material" --root "$data" --out "$out/packed"

again=()
[ -d "$out/run/checkpoint" ] && again=(--resume)
onlinetada train "$recipe" --data "$out/packed" --root "$data" --out "$out/run" ${again[@]+"${again[@]}"} "${@:5}"

python3 "$here/tools/ship_weights.py" "$out/run/${name:-compact}.safetensors" ${into:+--into "$into"}
