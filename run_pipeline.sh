#!/usr/bin/env bash
# From nothing to a trained Tatar GPT: environment, corpus, tokenizer, training, a first look.
#
#     bash run_pipeline.sh [--sample] [--corpora NAME...] [--input FILE...] [--preset NAME]
#                          [--minutes N] [--max-iters N] [--device cpu|cuda|mps] [--force] ...
#
# Takes the flags of stages 1 to 3 (--help lists them). After Ctrl-C or a crash the same command
# goes on where it stopped.
set -euo pipefail
here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
bash "$here/tools/make_environment.sh" requirements.txt
python="$here/.venv/bin/python"
[ -x "$python" ] || python="$here/.venv/Scripts/python.exe"
export PYTHONUTF8=1
# Waiting threads sleep instead of spinning: twice as fast beside other programs, no slower alone.
export OMP_WAIT_POLICY="${OMP_WAIT_POLICY:-passive}"
# -P: a config.py in the folder where the command is given is not ours.
PYTHONPATH="$here" exec "$python" -P -m pipeline.end_to_end "$@"
