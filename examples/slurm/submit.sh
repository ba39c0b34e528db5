#!/bin/bash
# Predicts a large stack as an array job of SLURM, without Dask:
#
#   ./submit.sh big.zarr map.zarr 500 --multiscale --dtype uint8
#
# makes parts of 500 sections, each by a task with a GPU, and then the output of them. The options
# after the number are those of `sfseg predict`. The same command again continues what is left.
set -euo pipefail
here=$(dirname "$0")
input=$1 output=$2 each=$3
options=("${@:4}")

count=$(python3 -c 'import sys, sfseg; print(len(sfseg.open_stack(sys.argv[1])))' "$input")
last=$(((count - 1) / each)) # tasks are counted from 0

array=$(sbatch --parsable --array="0-$last" \
  "$here/part.sbatch" "$input" "$output" "$each" "$count" "${options[@]}")
# afterany, not afterok: if a task has failed, --finish says which sections are missing.
finish=$(sbatch --parsable --dependency="afterany:$array" \
  "$here/finish.sbatch" "$input" "$output" "${options[@]}")
echo "parts: job $array, $((last + 1)) tasks; output: job $finish; logs: sfseg-*.log"
