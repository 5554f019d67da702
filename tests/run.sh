#!/usr/bin/env bash
# Lint, types, and every test. Makes the environment if needed; needs no network after that.
set -euo pipefail
here="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
cd "$here"
bash tools/make_environment.sh requirements.txt requirements-dev.txt
python=.venv/bin/python
[ -x "$python" ] || python=.venv/Scripts/python.exe
export PYTHONUTF8=1 OMP_WAIT_POLICY="${OMP_WAIT_POLICY:-passive}"

"$python" -m ruff check .
"$python" -m ruff format --check .
"$python" -m mypy config.py model.py utils.py quick_test.py app.py pipeline benchmarks tools
for script in 0*.py; do "$python" -m mypy "$script"; done
"$python" -m pytest "$@"
