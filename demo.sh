#!/bin/sh
# demo.sh: real events in a stream, read back in order and asked with SQL.
#
#   ./demo.sh                    the events of this machine's package log
#   ./demo.sh FILE               the lines of a file: JSON, or any other text
#   ./demo.sh --key FIELD FILE   ... keyed by this field of the JSON objects
#   ./demo.sh stop               stops the demo's server
#   ./demo.sh remove             ... and deletes all that the demo made
#
# Needs a shell and apt-get.  As root (or with sudo) it installs the packages
# that are missing; when nothing is missing any user can run it.  It builds
# weir, installs it into a private copy of PostgreSQL and starts a private
# server, all below /tmp/weir-demo-UID; the server listens on a Unix socket
# there and nowhere else.  A second run goes on with the same server and makes
# the database anew.
#
# demo/dpkg.log is the package log of a small Debian system, from its first
# package on, and demo/dpkg-query.txt what was installed there in the end; they
# stand in on a machine that has no package log.
set -eu
umask 022

top=$(cd "$(dirname "$0")" && pwd)
. "$top/test/private.sh"

base=/tmp/weir-demo-$(id -u)
database=demo
admin=weir

usage() { sed -n '2,/^set -eu/s/^# \{0,1\}//p' "$0"; }

main()
{
	key= file= command=run
	while [ $# -gt 0 ]; do
		case $1 in
			stop | remove) command=$1 ;;
			--key) [ $# -ge 2 ] || die "--key wants the name of a field"; key=$2; shift ;;
			-h | --help) usage; exit 0 ;;
			-*) die "unknown option $1; --help shows the known ones" ;;
			*) [ -z "$file" ] || die "one file at a time"; file=$1 ;;
		esac
		shift
	done
	[ -z "$key" ] || [ -n "$file" ] || die "--key goes with a file"
	if [ -n "$file" ]; then
		[ -f "$file" ] && [ -r "$file" ] || die "cannot read the file $file"
		file=$(cd "$(dirname "$file")" && pwd)/${file##*/}
	fi

	cd /
	find_server_user
	if [ $command != run ] && [ ! -e "$base" ]; then
		say "there is no $base"
		exit 0
	fi
	own_base
	case $command in
		stop) stop_server; exit 0 ;;
		remove) stop_server; rm -rf "$base"; say "removed $base"; exit 0 ;;
	esac

	find_postgres
	need_packages "postgresql-$PG_MAJOR" "postgresql-server-dev-$PG_MAJOR" gcc libc6-dev make
	find_server_user
	build
	start_server
	if [ -n "$file" ]; then
		load_file
	else
		load_packages
	fi
	report demo/where.sql
	hints
	exit $status
}

# The directory lies in /tmp, where anybody could have made it.
own_base()
{
	status=0
	mkdir "$base" 2>/dev/null || true
	[ -d "$base" ] && [ ! -L "$base" ] && [ -O "$base" ] ||
		die "$base is not a directory of mine; remove it first"
	chmod 755 "$base"
	work=$(mktemp -d)
	trap 'rm -rf "$work"' EXIT
	trap 'exit 130' INT TERM HUP
}

build()
{
	system_version=$("$PG_CONFIG" --version)
	private_postgres "$base/postgresql"
	library=$("$PG_CONFIG" --pkglibdir)/weir.so
	if [ -e "$library" ] && [ -z "$(cd "$top" && find src Makefile weir.control -newer "$library")" ]; then
		say "weir for $system_version is built already"
		return
	fi
	say "building weir for $system_version"
	rm -rf "$base/build"
	copy_tree "$top" "$base/build"
	if ! make -C "$base/build" -j "$(nproc)" PG_CONFIG="$PG_CONFIG" install >"$work/make.log" 2>&1; then
		tail -n 30 "$work/make.log" >&2
		die "the build failed"
	fi
	touch "$library"
	rm -f "$base/bin"
	ln -s "$PG_BIN" "$base/bin"
	stop_server >"$work/stop.log"
}

server_runs() { as_server "$base/bin/pg_ctl" status -D "$base/data" >/dev/null 2>&1; }

stop_server()
{
	if [ -x "$base/bin/pg_ctl" ] && server_runs; then
		as_server "$base/bin/pg_ctl" stop -D "$base/data" -m fast -w -s
		say "stopped the server in $base"
	else
		say "no server runs in $base"
	fi
}

start_server()
{
	data=$base/data
	if [ -e "$data" ] && [ "$(as_server cat "$data/PG_VERSION" 2>/dev/null)" != "$PG_MAJOR" ]; then
		rm -rf "$data"
	fi
	if [ ! -e "$data" ]; then
		rm -rf "$base/socket"
		mkdir "$data" "$base/socket"
		[ "$(id -u)" -ne 0 ] || chown "$SERVER_USER" "$data" "$base/socket"
		if ! as_server "$PG_BIN/initdb" -D "$data" -U $admin -A peer -E UTF8 --locale=C.UTF-8 \
			>"$work/initdb.log" 2>&1; then
			cat "$work/initdb.log" >&2
			rm -rf "$data"
			die "initdb failed"
		fi
		as_server tee -a "$data/postgresql.conf" >/dev/null <<-END
			listen_addresses = ''
			port = 5432
			unix_socket_directories = '$base/socket'
		END
	fi
	# Who may come in is known from the socket: me, and who called me by sudo.
	echo "local all all peer map=demo" | as_server tee "$data/pg_hba.conf" >/dev/null
	for user in "$(id -un)" "$SERVER_USER" "${SUDO_USER:-root}"; do
		echo "demo \"$user\" $admin"
	done | as_server tee "$data/pg_ident.conf" >/dev/null

	if server_runs; then
		as_server "$PG_BIN/pg_ctl" reload -D "$data" -s
		say "the server in $base runs already; database $database is made anew"
	elif as_server "$PG_BIN/pg_ctl" start -D "$data" -l "$data/server.log" -w -s >"$work/start.log" 2>&1; then
		say "started a server in $base"
	else
		cat "$work/start.log" >&2
		as_server tail -n 20 "$data/server.log" >&2
		die "the server did not start"
	fi
	sql -d postgres -q -c 'SET client_min_messages = warning' \
		-c "DROP DATABASE IF EXISTS $database WITH (FORCE)" -c "CREATE DATABASE $database"
	sql -q -c 'CREATE EXTENSION weir'
}

sql()
{
	"$PG_BIN/psql" -X -v ON_ERROR_STOP=1 -P pager=off -P footer=off \
		-h "$base/socket" -p 5432 -U $admin -d $database "$@"
}

report() { sql -q -v stream=$stream -f "$top/$1"; }

# Raw lines for COPY, without the few bytes that it or a text cannot take; a
# line \. would be the end of the data.
lines()
{
	iconv -c -f UTF-8 -t UTF-8 | tr -d '\000\001\002\r' |
		sed -e '/^$/d' -e 's/^\\\.$/& /' -e '$a\'
}

load_packages()
{
	logs=$(ls /var/log/dpkg.log.* 2>/dev/null | sort -t . -k 3,3nr || true)
	[ ! -e /var/log/dpkg.log ] || logs="$logs /var/log/dpkg.log"
	if [ -n "$logs" ] && zcat -f $logs 2>/dev/null | grep -q ' status '; then
		what="this machine's package log"
		native=$(dpkg --print-architecture)
		# Both at one moment: again if a package came meanwhile.
		while :; do
			before=$(ls -l $logs)
			zcat -f $logs >"$work/log"
			dpkg-query -W -f '${Package}:${Architecture} ${db:Status-Status} ${Version}\n' >"$work/installed"
			[ "$before" != "$(ls -l $logs)" ] || break
		done
	else
		what="the package log that comes with the demo (this machine has none)"
		native=amd64
		cp "$top/demo/dpkg.log" "$work/log"
		cp "$top/demo/dpkg-query.txt" "$work/installed"
	fi
	say
	lines <"$work/log" >"$work/lines"
	stream=package_events
	load "$what" demo/load_packages.sql -v native="$native"
	lines <"$work/installed" |
		sql -q -v native="$native" -f "$top/demo/load_installed.sql"
	report demo/report_packages.sql
	no_difference
}

load_file()
{
	say
	zcat -f "$file" | lines >"$work/lines"
	[ -s "$work/lines" ] || die "there are no lines in $file"
	stream=file_events
	load "$file" demo/load_lines.sql -v key="$key"
	report demo/report_lines.sql
	no_difference
}

no_difference() { [ "$(sql -At -c 'SELECT count(*) FROM differences')" = 0 ] || differ; }

differ() { say "THE STREAM AND THE TRUTH DIFFER"; status=1; }

load()
{
	what=$1 script=$2
	shift 2
	total=$(wc -l <"$work/lines")
	say "loading $what: $total lines"
	sql -q "$@" -v stream=$stream -f "$top/$script" <"$work/lines"
	[ "$(sql -At -c "SELECT count(*) FROM $stream")" = "$total" ] || differ
	say
}

hints()
{
	psql=psql
	command -v psql >/dev/null || psql=$base/bin/psql
	connect="$psql -h $base/socket -U $admin $database"
	cat <<-END
		Try next:
		  $connect -c "SELECT * FROM stream_publish('$stream', jsonb_build_object('hello', 'weir'), 'me')"
		  $connect -c "SELECT * FROM stream_read('$stream', stream_partition_for('$stream', 'me'), reverse => true, max_messages => 5)"
		  $connect
		Stop the server:  $0 stop    (and delete it all: $0 remove)
	END
}

main "$@"
