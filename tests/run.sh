#!/usr/bin/env bash
# Lint, types, and every test. Makes the environment if needed; needs no network after that.
set -euo pipefail
here="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
cd "$here"
bash tools/make_environment.sh requirements.txt requirements-dev.txt
python=.venv/bin/python
[ -x "$python" ] || python=.venv/Scripts/python.exe
export PYTHONUTF8=1 OMP_WAIT_POLICY="${OMP_WAIT_POLICY:-passive}"

# The page is tried in a real browser.
has_browser() {
    for name in chromium chromium-browser google-chrome google-chrome-stable; do
        if command -v "$name" >/dev/null; then return; fi
    done
    return 1
}
if ! has_browser && [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    echo "Installing Chromium"
    { apt-get update -qq && apt-get install -qq -y chromium; } >/dev/null 2>&1 || true
fi
has_browser || echo "No Chromium here: what a person does in a browser is not tested. Install it to change that"

"$python" -m ruff check .
"$python" -m ruff format --check .
"$python" -m mypy config.py model.py utils.py quick_test.py app.py interface pipeline benchmarks tools
for script in 0*.py; do "$python" -m mypy "$script"; done
"$python" -m pytest "$@"
