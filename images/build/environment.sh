# What only the machine that builds knows: its package index, its proxy and its certificate authorities. They come as
# build secrets (tools/images/surroundings.py), so that no layer and no history of an image has them.
if [ -f /run/secrets/surroundings ]; then
    . /run/secrets/surroundings
fi
if [ -s /run/secrets/authorities ]; then
    export SSL_CERT_FILE=/run/secrets/authorities
fi
UV_PYTHON=$(command -v python3)
export UV_PYTHON UV_PYTHON_DOWNLOADS=never UV_LINK_MODE=copy UV_NO_PROGRESS=1 UV_CACHE_DIR=/var/cache/uv
# The same input gives the same bytecode, and nothing is looked at again at each import: an image never changes.
export PYC_INVALIDATION_MODE=UNCHECKED_HASH PYTHONHASHSEED=0
