#!/usr/bin/env bash
# An exported step as a TensorRT engine, and its time: needs trtexec (in NVIDIA's TensorRT and in JetPack).
#
#     onlinetada export compact --format onnx --out step.onnx
#     tools/tensorrt_step.sh step.onnx step.engine [LARGEST_BATCH] [--fp16 | --bf16 | --int8 ...]
#
# Inputs are those of the ONNX file: the crops' bytes and the buffers of the state, with a dynamic batch. int8 needs no
# calibration here where the file was exported with --dtype int8: its scales are inside.
set -euo pipefail

[ $# -ge 2 ] || { sed -n '2,9s/^# \{0,1\}//p' "$0"; exit 2; }
step=$1 engine=$2 largest=${3:-8}
shift $(( $# < 3 ? $# : 3 ))
trtexec=$(command -v trtexec || echo /usr/src/tensorrt/bin/trtexec)
[ -x "$trtexec" ] || { echo "tensorrt_step: no trtexec on the path nor in /usr/src/tensorrt/bin" >&2; exit 2; }

# name:1x...,name:1x... for every input, with this batch
shapes() {
    python3 - "$step" "$1" <<'PY'
import sys

import onnx

model = onnx.load(sys.argv[1], load_external_data=False)
parts = []
for value in model.graph.input:
    sides = [str(d.dim_value) for d in value.type.tensor_type.shape.dim[1:]]
    parts.append(f"{value.name}:" + "x".join([sys.argv[2], *sides]))
print(",".join(parts))
PY
}

"$trtexec" --onnx="$step" --saveEngine="$engine" \
    --minShapes="$(shapes 1)" --optShapes="$(shapes 1)" --maxShapes="$(shapes "$largest")" \
    --shapes="$(shapes 1)" --useCudaGraph --noDataTransfers --warmUp=500 --duration=5 "$@"
