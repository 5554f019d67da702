#!/usr/bin/env bash
# Makes .venv in the project's folder and installs the named requirements files into it, once.
#
#     tools/make_environment.sh requirements.txt [requirements-dev.txt]
#
# Prints nothing when there is nothing to do. Exit code 2: something is missing, one line says what.
set -euo pipefail
here="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
venv="$here/.venv"
export PYTHONUTF8=1 PIP_DISABLE_PIP_VERSION_CHECK=1

fail() {
    echo "error: $*" >&2
    exit 2
}

venv_python() {
    if [ -x "$venv/Scripts/python.exe" ]; then echo "$venv/Scripts/python.exe"; else echo "$venv/bin/python"; fi
}

if ! "$(venv_python)" -c "" 2>/dev/null; then
    for candidate in python3.11 python3.12 python3.13 python3 python; do
        if "$candidate" -c "import sys; sys.exit(sys.version_info < (3, 11))" 2>/dev/null; then
            python="$candidate"
            break
        fi
    done
    [ -n "${python:-}" ] || fail "Python 3.11 or newer is not there. Install it; on Debian and Ubuntu: sudo apt install python3 python3-venv"
    "$python" -c "import venv, ensurepip" 2>/dev/null ||
        fail "this Python has no venv. Install it; on Debian and Ubuntu: sudo apt install python3-venv"
    echo "Making the environment in .venv"
    "$python" -m venv --clear "$venv" || fail "$python -m venv did not work, see above"
fi
python="$(venv_python)"

files=()
for name in "$@"; do files+=("$here/$name"); done
wanted="$(cat "${files[@]}")"
stamp="$venv/installed-${*: -1}"
if [ "$wanted" = "$(cat "$stamp" 2>/dev/null)" ]; then exit 0; fi

# PyPI's PyTorch for Linux brings gigabytes of CUDA libraries. Without an NVIDIA GPU they are dead
# weight, so the CPU build is tried first.
torch="$(sed -n 's/^\(torch==[^ ]*\).*/\1/p' "$here/requirements.txt")"
if ! "$python" -c "import importlib.metadata as m, sys; sys.exit(m.version('torch').split('+')[0] != '${torch#*==}')" 2>/dev/null; then
    if [ "$(uname -s)" = Linux ] && [ ! -e /proc/driver/nvidia/version ] &&
        ! command -v nvidia-smi >/dev/null && [ ! -e /usr/lib/wsl/lib/nvidia-smi ]; then
        echo "Installing PyTorch, CPU build (about 190 MB to download; no NVIDIA GPU was found)"
        "$python" -m pip install --no-deps --retries 1 --timeout 20 \
            --index-url https://download.pytorch.org/whl/cpu "$torch" ||
            echo "That did not work (see above): taking PyPI's build, which brings CUDA libraries (about 3 GB)"
    fi
fi
echo "Installing what else is needed (about 160 MB to download, 1.8 GB on the disk in all)"
arguments=()
for file in "${files[@]}"; do arguments+=(-r "$file"); done
"$python" -m pip install --retries 3 "${arguments[@]}" | { grep --line-buffered -E "^(Downloading|Installing|Successfully)" || true; } |
    cut -c 1-120 || fail "the installation did not work, see above. Check the internet connection and run it again"
printf '%s\n' "$wanted" >"$stamp"
