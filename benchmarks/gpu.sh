#!/bin/sh
# The training step on one GPU at the papers' sizes: sh benchmarks/gpu.sh <folder for the reports> [python]
# About twenty minutes: building the networks of the papers' size takes the host one to two minutes a part. Every part
# has its own time limit, and a report is written as it grows, so that what was measured before a limit is kept. The
# peaks are an H100's or H200's from the datasheet, dense.
set -u
out=$1
python=${2:-python3}
logs=$(mktemp -d)
mkdir -p "$out"
export PYTHONUNBUFFERED=1 PYTHONPATH="$PWD${PYTHONPATH:+:$PYTHONPATH}"

part() { # <seconds> <name> <arguments>
    limit=$1 name=$2
    shift 2
    timeout -k 5 "$limit" "$python" benchmarks/train_step.py --without-loader --datasheet fp32=67 tf32=495 bf16=990 \
        --out "$out/$name.md" "$@" >"$logs/$name.out" 2>"$logs/$name.log"
    code=$?
    echo "$name: exit code $code (124: its $limit s were over)"
    [ $code -eq 0 ] || tail -n 12 "$logs/$name.log"
    grep -E '^(\||## |Batch|Largest|- (GPU|versions|measured))' "$out/$name.md" 2>/dev/null
    return $code
}

part 120 smoke --experiments fiva --batch 8 --windows 1 --without-check --profile --ways "+ lazy R1" || exit 1
for experiment in fiva facedancer; do
    part 400 "$experiment" --scale paper --experiments "$experiment" --batch 8 16 32 --windows 2 --profile --compile \
        --ways published "published, TF32" "+ bf16" "+ lazy R1"
done
part 240 simswap --scale paper --experiments simswap --batch 16 --windows 2 --profile --ways published "published, TF32" "+ lazy R1"
part 240 reconstruction --scale paper --experiments reconstruction --batch 8 --windows 2 --profile \
    --ways published "published, TF32" "+ lazy R1"
exit 0
