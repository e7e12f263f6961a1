#!/usr/bin/env bash
# From raw data to the files that ship, in three steps: pack, train (in parts), ship. Whatever is done already is not
# done again: packed material is used as it is, and a training that was stopped goes on.
#
#   tools/make_weights.sh DATA OUT [RECIPES [WEIGHTS_FOLDER [options of onlinetada train]]]
#
# DATA     raw data sets, laid out as the recipe's material file says
# OUT      folder for packed material, and for each recipe a folder with log, checkpoint, weights
# RECIPES  separated by commas, each going on from the weights of the one before, made narrower first where its
#          model says so; A+B are two runs, averaged with what they began with, A+ one run likewise, A*B two runs
#          averaged alone; by default configs/compact_cpu.yaml, _2, _3.yaml+_3b.yaml, and with the material of
#          docs/material.md _4.yaml+_4b.yaml, _5.yaml*_5b.yaml, configs/compact_gpu.yaml, _gpu_2.yaml+; on a GPU,
#          with --device cuda --compile at the end, configs/compact.yaml,configs/compact_gpu.yaml may do
set -euo pipefail
if [ $# -lt 2 ]; then
    sed -n '2,14s/^# \{0,1\}//p' "$0"
    exit 2
fi
here=$(cd "$(dirname "$0")/.." && pwd) cpu=$(cd "$(dirname "$0")/../configs" && pwd)/compact_cpu
data=$1 out=$2 recipes=${3:-$cpu.yaml,${cpu}_2.yaml,${cpu}_3.yaml+${cpu}_3b.yaml,${cpu}_4.yaml+${cpu}_4b.yaml,${cpu}_5.yaml*${cpu}_5b.yaml,${cpu%_cpu}_gpu.yaml,${cpu%_cpu}_gpu_2.yaml+} into=${4:-}
export MALLOC_MMAP_THRESHOLD_=2000000000 MALLOC_TRIM_THRESHOLD_=4000000000 # large buffers stay with the process

device=cpu
case " ${*:5} " in *" cuda "*) device=cuda ;; esac
refit() { python3 "$here/tools/refit_weights.py" "$@" --data "$packed" --device "$device"; }

weights=() began=() had= # of the part so far: what its runs made, what is averaged with them, how wide it is
IFS=, read -ra parts <<<"$recipes"
for part in "${parts[@]}"; do
    before=("${weights[@]}") narrow=
    if [ $((${#before[@]} + ${#began[@]})) -gt 1 ]; then # of the part before there is more than one file
        [ -e "$run-mean.safetensors" ] || refit average "${before[@]}" "${began[@]}" "$recipe" --out "$run-mean.safetensors"
        before=("$run-mean.safetensors")
    fi
    weights=()
    IFS='+*' read -ra runs <<<"$part"
    for recipe in "${runs[@]}"; do
        material=$(sed -n 's/^material: *//p' "$recipe")
        material=${material:-material.yaml} packed=$out/packed/$(basename "$material" .yaml)
        [ -e "$packed/index.json" ] || onlinetada data pack "$(dirname "$recipe")/$material" --root "$data" --out "$packed"

        run=$out/$(basename "$recipe" .yaml) name=$(sed -n 's/^name: *//p' "$recipe") more=()
        widths=$(sed -n 's/^  widths: *//p' "$recipe")
        if [ ${#before[@]} -gt 0 ] && [ "$widths" != "$had" ]; then
            narrow=${narrow:-$run-narrow.safetensors}
            [ -e "$narrow" ] || refit narrow "${before[0]}" "$recipe" --out "$narrow"
            before=("$narrow") had=$widths
        fi
        [ -d "$run/checkpoint" ] && more=(--resume)
        [ ${#before[@]} -gt 0 ] && more+=(--initial "${before[0]}")
        onlinetada train "$recipe" --data "$packed" --out "$run" ${more[@]+"${more[@]}"} "${@:5}"
        weights+=("$run/${name:-compact}.safetensors")
        [ -e "${weights[-1]}" ] || exit 1 # the training was stopped; it has said how to go on
    done
    began=()
    case $part in *+*) began=("${before[@]}") ;; esac
done

weights+=("${began[@]}")
final=$out/final/${name:-compact}.safetensors
[ -e "${final%.safetensors}.json" ] || refit average "${weights[@]}" "$recipe" --root "$data" --out "$final"
python3 "$here/tools/ship_weights.py" "$final" ${into:+--into "$into"}
