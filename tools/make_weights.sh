#!/usr/bin/env bash
# From raw data to the files that ship, in three steps: pack, train (in parts), ship. Whatever is done already is not
# done again: packed material is used as it is, and a training that was stopped goes on.
#
#   tools/make_weights.sh DATA OUT [RECIPES [WEIGHTS_FOLDER [options of onlinetada train]]]
#
# DATA     raw data sets, laid out as the recipe's material file says
# OUT      folder for packed material, and for each recipe a folder with log, checkpoint, weights
# RECIPES  separated by commas, each going on from the weights of the one before, made narrower first where its
#          model says so; by default configs/compact_cpu.yaml, _2 and _3; on a GPU configs/compact.yaml, with --device cuda
#          --compile at the end
set -euo pipefail
if [ $# -lt 2 ]; then
    sed -n '2,13s/^# \{0,1\}//p' "$0"
    exit 2
fi
here=$(cd "$(dirname "$0")/.." && pwd)
data=$1 out=$2 recipes=${3:-$here/configs/compact_cpu.yaml,$here/configs/compact_cpu_2.yaml,$here/configs/compact_cpu_3.yaml} into=${4:-}
export MALLOC_MMAP_THRESHOLD_=2000000000 MALLOC_TRIM_THRESHOLD_=4000000000 # large buffers stay with the process

weights= had=
IFS=, read -ra parts <<<"$recipes"
for recipe in "${parts[@]}"; do
    material=$(sed -n 's/^material: *//p' "$recipe")
    material=$(dirname "$recipe")/${material:-material.yaml}
    [ -e "$out/packed/index.json" ] || onlinetada data pack "$material" --root "$data" --out "$out/packed"

    run=$out/$(basename "$recipe" .yaml) name=$(sed -n 's/^name: *//p' "$recipe") more=()
    [ -d "$run/checkpoint" ] && more=(--resume)
    widths=$(sed -n 's/^  widths: *//p' "$recipe")
    if [ -n "$weights" ] && [ "$widths" != "$had" ]; then
        narrow=$run-narrow.safetensors
        [ -e "$narrow" ] || python3 "$here/tools/narrow_backbone.py" "$weights" "$recipe" --data "$out/packed" --out "$narrow"
        weights=$narrow
    fi
    had=$widths
    [ -n "$weights" ] && more+=(--initial "$weights")
    onlinetada train "$recipe" --data "$out/packed" --root "$data" --out "$run" ${more[@]+"${more[@]}"} "${@:5}"
    weights=$run/${name:-compact}.safetensors
done

python3 "$here/tools/ship_weights.py" "$weights" ${into:+--into "$into"}
