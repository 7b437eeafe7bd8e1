#!/bin/sh
# Make a runtime out of a Debian with Python: take away what only builds, installs or becomes somebody else.
# Runs once, in a stage of its own whose files are then copied as a whole, so that what is removed here is in no layer.
set -eu
. /build/environment.sh
if ! command -v tini >/dev/null; then
    apt-get update --quiet=2
    apt-get install --quiet=2 --yes --no-install-recommends tini >/dev/null
fi
# Docker's python comes without bytecode, and a read-only root never gets any.
python3 -m compileall -q -x '/(test|tests|lib2to3|site-packages)/' \
    "$(python3 -c 'import sysconfig; print(sysconfig.get_path("stdlib"))')"
# Of an image of Docker's python: its own pip. Debian's python3 has none.
rm -rf /usr/local/lib/python3.*/site-packages/* /usr/local/lib/python3.*/ensurepip /usr/lib/python3.*/ensurepip \
    /usr/share/python-wheels /usr/local/bin/pip* /usr/local/bin/idle* /usr/local/bin/pydoc* /usr/local/include \
    /usr/local/lib/python3.*/test /usr/bin/su /usr/sbin/runuser
# Their scripts are for systems that go on living; the list of packages stays, for scanners.
gone=
for package in apt libapt-pkg6.0 gpgv debian-archive-keyring adduser login passwd mount e2fsprogs logsave perl-base \
    usrmerge usr-is-merged openssl; do
    if dpkg-query --show "$package" >/dev/null 2>&1; then gone="$gone $package"; fi
done
# shellcheck disable=SC2086 - a list of words
dpkg --purge --force-depends --force-remove-essential --force-remove-protected $gone >/build/purge.log 2>&1 || {
    cat /build/purge.log >&2
    exit 1
}
rm -rf /etc/apt /var/lib/apt /var/cache/* /var/log/* /var/lib/dpkg/*-old /usr/share/doc /usr/share/man \
    /usr/share/info /usr/share/locale /usr/share/lintian /usr/share/bug /root/.cache /build
find / -xdev -type f -perm /6000 -exec chmod a-s {} +
find /tmp -mindepth 1 -delete
grep -q '^herald:' /etc/group || echo 'herald:x:65532:' >>/etc/group
grep -q '^herald:' /etc/passwd || echo 'herald:x:65532:65532::/tmp:/usr/sbin/nologin' >>/etc/passwd
