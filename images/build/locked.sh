#!/bin/sh
# Make /opt/herald/venv with what uv.lock says that a package needs, each file checked against its hash there.
# Usage: [EXTRA=NAME] locked.sh PACKAGE            all that a package of the workspace depends on, Herald's own left out
#        [EXTRA=NAME] locked.sh PACKAGE NAME...    only these of it
# Exported and then installed, not `uv sync`: a lock names the addresses of one index, and a mirror has others.
set -eu
. /build/environment.sh
package=$1
shift
cd /build/workspace
uv export --quiet --frozen --no-dev --package "$package" ${EXTRA:+--extra "$EXTRA"} --no-emit-workspace \
    --no-header --no-annotate --output-file /build/locked.txt
python3 /build/pick.py /build/locked.txt "$@" >/build/requirements.txt
uv venv --quiet /opt/herald/venv
uv pip install --quiet --python /opt/herald/venv/bin/python --require-hashes --no-deps --compile-bytecode \
    --requirements /build/requirements.txt
# Activation is for people at a prompt.
rm -f /opt/herald/venv/bin/activate* /opt/herald/venv/bin/*.bat /opt/herald/venv/bin/pydoc*
# An image runs no package's tests.
find /opt/herald/venv/lib -type d -name tests -prune -exec rm -rf {} +
# Herald's own packages lie beside, in a layer that changes more often.
for folder in /opt/herald/venv/lib/python3.*/site-packages; do
    echo /opt/herald/app >"$folder/herald.pth"
done
