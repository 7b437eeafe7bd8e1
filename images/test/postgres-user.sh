#!/bin/sh
# The user and the folders of the image that this one stands in for.
set -eu
echo 'postgres:x:999:' >>/etc/group
echo 'postgres:x:999:999::/var/lib/postgresql:/bin/bash' >>/etc/passwd
mkdir -p /var/lib/postgresql /var/run/postgresql
chown 999:999 /var/lib/postgresql /var/run/postgresql
chmod 1777 /var/lib/postgresql
chmod 3777 /var/run/postgresql
