#!/bin/sh
# Install Herald's own packages, given as folders, into /opt/herald/app. Their build backend is pinned by hash too.
set -eu
. /build/environment.sh
for folder in "$@"; do
    uv build --quiet --wheel --out-dir /build/wheels --require-hashes --build-constraints /build/backend.txt "$folder"
done
uv pip install --quiet --python /opt/herald/venv/bin/python --no-deps --no-index --compile-bytecode \
    --target /opt/herald/app /build/wheels/*.whl
rm -f /opt/herald/app/.lock
