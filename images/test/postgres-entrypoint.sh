#!/bin/sh
# Start PostgreSQL, and before its first start make its data folder, as docker.io/library/postgres:18 does:
#   - `postgres ARGUMENTS`, or only `-c name=value ...`, starts the server; any other command is run as it is
#   - root makes the folders and becomes the user postgres; any other user stays who it is
#   - a folder without PG_VERSION is initialised: superuser POSTGRES_USER (postgres) with POSTGRES_PASSWORD, database
#     POSTGRES_DB (the user's name), more arguments for initdb in POSTGRES_INITDB_ARGS. Each may come as NAME_FILE, not
#     as both; no password is an error unless POSTGRES_HOST_AUTH_METHOD is trust
#   - clients from other addresses need the password (POSTGRES_HOST_AUTH_METHOD, scram-sha-256), local ones do not
#   - a folder that was initialised is used as it is, whatever the environment says
set -eu

fail() {
    echo "postgres image: $*" >&2
    exit 1
}

# value NAME DEFAULT: from the environment variable NAME, else from the file that NAME_FILE names.
value() {
    eval "given=\${$1:-} file=\${$1_FILE:-}"
    [ -z "$given" ] || [ -z "$file" ] || fail "$1 and $1_FILE are both set: set one of them"
    if [ -n "$file" ]; then
        [ -r "$file" ] || fail "$1_FILE names $file, which cannot be read"
        given=$(cat "$file")
    fi
    printf '%s' "${given:-$2}"
}

initialise() {
    user=$(value POSTGRES_USER postgres)
    database=$(value POSTGRES_DB "$user")
    password=$(value POSTGRES_PASSWORD '')
    arguments=$(value POSTGRES_INITDB_ARGS '')
    method=${POSTGRES_HOST_AUTH_METHOD:-scram-sha-256}
    [ -n "$password" ] || [ "$method" = trust ] ||
        fail "no password for the superuser: set POSTGRES_PASSWORD or POSTGRES_PASSWORD_FILE"
    # The settings that Docker's image has compiled in or in its sample. The password goes through a pipe: an argument
    # is visible to all. $arguments is a list of words.
    set -- --username="$user" --set=unix_socket_directories=/var/run/postgresql "--set=listen_addresses=*"
    if [ -n "$password" ]; then
        # shellcheck disable=SC2086
        printf '%s\n' "$password" | initdb "$@" --pwfile=/dev/stdin $arguments
    else
        # shellcheck disable=SC2086
        initdb "$@" $arguments
    fi
    printf '\nhost all all all %s\n' "$method" >>"$PGDATA/pg_hba.conf"
    if [ "$database" != postgres ]; then
        quoted=$(printf '%s' "$database" | sed 's/"/""/g')
        printf 'CREATE DATABASE "%s";\n' "$quoted" | postgres --single -D "$PGDATA" postgres >/dev/null
    fi
    echo 'PostgreSQL init process complete; ready for start up.'
}

case ${1:-} in
-*) set -- postgres "$@" ;;
esac
[ "${1:-}" = postgres ] || exec "$@"
for argument; do
    case $argument in
    --help | --version | --describe-config | -V | '-?') exec "$@" ;;
    esac
done

mkdir -p "$PGDATA"
chmod 0700 "$PGDATA" 2>/dev/null || true
if [ "$(id -u)" = 0 ]; then
    find "$PGDATA" /var/run/postgresql \! -user postgres -exec chown postgres {} +
    exec setpriv --reuid=postgres --regid=postgres --clear-groups -- "$0" "$@"
fi
[ -s "$PGDATA/PG_VERSION" ] || initialise
exec "$@"
