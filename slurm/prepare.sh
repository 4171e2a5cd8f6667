#!/bin/bash
# Pack a data set with an array of tasks; each takes its share of the shards, the last one writes the index.
#   sbatch --array=0-15 slurm/prepare.sh --root <folder> --detector yunet --weights <file> --out <folder>
# A task that was killed: submit the same line again, finished shards are skipped.
#SBATCH --job-name=anon-prepare
#SBATCH --cpus-per-task=8
#SBATCH --mem=16G
#SBATCH --time=04:00:00
#SBATCH --requeue
set -euo pipefail
export OMP_NUM_THREADS=1
cd "${SLURM_SUBMIT_DIR:-.}"
exec "${PYTHON:-.venv/bin/python}" -m anon.faces.prepare --workers "${SLURM_CPUS_PER_TASK:-1}" "$@"
