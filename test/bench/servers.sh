# servers.sh: what run.sh needs of the machine: packages, an unprivileged user,
# private servers on unix sockets, facts.  Sourced, not run.
#
# Everything lives in $tmp and is gone at the end.  Servers are stopped by the
# process ids that they wrote there themselves.  No TCP port is opened.

say()
{
	printf '%s\n' "bench: $*" >&2
}

fail()
{
	say "$*"
	exit 1
}

# --- the unprivileged user --------------------------------------------------

# PostgreSQL refuses to run as root.
choose_user()
{
	server_user=""
	if [ "$(id -u)" -eq 0 ]; then
		command -v runuser >/dev/null || fail "runuser (util-linux) is needed to run as root"
		server_user=nobody
		if id postgres >/dev/null 2>&1; then
			server_user=postgres
		fi
	fi
}

as_user()
{
	if [ -n "$server_user" ]; then
		(cd / && runuser -u "$server_user" -- "$@")
	else
		"$@"
	fi
}

# --- packages -----------------------------------------------------------------

# Daemons of packages that are installed now are not to start; a policy that is
# there already stays.
forbid_daemons()
{
	if [ ! -e /usr/sbin/policy-rc.d ]; then
		printf '#!/bin/sh\nexit 101\n' >/usr/sbin/policy-rc.d
		chmod 755 /usr/sbin/policy-rc.d
		policy_made=yes
	fi
}

allow_daemons()
{
	if [ "${policy_made:-}" = yes ]; then
		rm -f /usr/sbin/policy-rc.d
		policy_made=""
	fi
}

# apt_install PACKAGE ...: false if that was not possible.
apt_install()
{
	if [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null; then
		return 1
	fi
	say "installing $*"
	forbid_daemons
	if [ -z "${apt_updated:-}" ]; then
		apt-get update -qq >>"$log" 2>&1 || true
		apt_updated=yes
	fi
	DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=300 install -y -qq --no-install-recommends "$@" >>"$log" 2>&1
	local status=$?
	allow_daemons
	return $status
}

# Sets pg_config, pg_major, pg_bin; skips in $have_pgq, $have_redis, $have_weir.
find_programs()
{
	local default

	pg_config=${PG_CONFIG:-pg_config}
	if command -v "$pg_config" >/dev/null; then
		default=$("$pg_config" --version | sed 's/^PostgreSQL \([0-9]*\).*/\1/')
	elif command -v apt-cache >/dev/null; then
		default=$(apt-cache depends postgresql 2>/dev/null | sed -n 's/.*Depends: postgresql-\([0-9]*\)$/\1/p' | head -n 1)
	fi
	pg_major=${default:-15}
	command -v make >/dev/null || apt_install make || fail "make is missing"
	compiler=${CC:-gcc}
	command -v "$compiler" >/dev/null || apt_install gcc libc6-dev || fail "$compiler is missing"
	command -v "$pg_config" >/dev/null && [ -e "$("$pg_config" --includedir)/libpq-fe.h" ] ||
		apt_install libpq-dev || fail "libpq-dev is missing"
	[ -x "$("$pg_config" --bindir)/postgres" ] ||
		apt_install "postgresql-$pg_major" || fail "PostgreSQL $pg_major is missing"
	[ -e "$("$pg_config" --pgxs)" ] ||
		apt_install "postgresql-server-dev-$pg_major" || say "postgresql-server-dev-$pg_major is missing"
	pg_bin=$("$pg_config" --bindir)
	have_pgq=yes
	[ -e "$("$pg_config" --sharedir)/extension/pgq.control" ] ||
		apt_install "postgresql-$pg_major-pgq3" || have_pgq=""
	have_redis=yes
	command -v redis-server >/dev/null || apt_install redis-server || have_redis=""
}

# Builds the extension and installs it, unless what is installed is that build.
install_weir()
{
	local installed

	have_weir=""
	installed=$("$pg_config" --pkglibdir)/weir.so
	if [ -n "$no_build" ]; then
		[ -e "$installed" ] && have_weir=yes
		return
	fi
	if ! make -s -C "$root" PG_CONFIG="$pg_config" >>"$log" 2>&1; then
		tail -n 5 "$log" >&2
		return
	fi
	if [ -w "$("$pg_config" --pkglibdir)" ]; then
		make -s -C "$root" PG_CONFIG="$pg_config" install >>"$log" 2>&1 && have_weir=yes
	elif cmp -s "$root/weir.so" "$installed"; then
		have_weir=yes
	else
		say "the installed extension is not this build; install it first (make install)"
	fi
}

build_client()
{
	"$compiler" -O2 -std=c99 -D_GNU_SOURCE -Wall -Wextra -I"$("$pg_config" --includedir)" \
		-pthread -o "$tmp/load" "$here"/*.c -L"$("$pg_config" --libdir)" -Wl,-rpath,"$("$pg_config" --libdir)" -lpq ||
		fail "the load client does not build"
}

# --- servers ------------------------------------------------------------------

# Settings that the report repeats.
postgres_settings()
{
	cat <<-SETTINGS
		fsync = on
		synchronous_commit = on
		full_page_writes = on
		wal_level = replica
		shared_buffers = 1GB
		max_wal_size = 16GB
		min_wal_size = 2GB
		checkpoint_timeout = 1h
		autovacuum = off
		max_connections = 50
		jit = off
	SETTINGS
}

start_postgres()
{
	export PGHOST=$tmp/socket PGUSER=postgres PGDATABASE=postgres PGPORT=5432
	unset PGOPTIONS PGSERVICE PGPASSWORD
	as_user "$pg_bin/initdb" -D "$tmp/pgdata" -U postgres -A trust -N --locale=C -E UTF8 >>"$log" 2>&1 ||
		fail "initdb failed, see $log"
	{
		postgres_settings
		echo "listen_addresses = ''"
		echo "unix_socket_directories = '$tmp/socket'"
		echo "port = 5432"
		echo "logging_collector = off"
	} >>"$tmp/pgdata/postgresql.conf"
	as_user "$pg_bin/pg_ctl" -D "$tmp/pgdata" -l "$tmp/postgres.log" -w -t 60 start >>"$log" 2>&1 ||
		{ cat "$tmp/postgres.log" >&2; fail "PostgreSQL does not start"; }
}

redis_settings()
{
	cat <<-SETTINGS
		appendonly yes
		appendfsync always
		save ""
		auto-aof-rewrite-percentage 0
	SETTINGS
}

start_redis()
{
	local deadline

	redis=$tmp/socket/redis
	{
		redis_settings
		echo "port 0"
		echo "unixsocket $redis"
		echo "dir $tmp/redis"
		echo "pidfile $tmp/redis/redis.pid"
		echo "logfile $tmp/redis/redis.log"
		echo "daemonize yes"
	} >"$tmp/redis.conf"
	chmod 644 "$tmp/redis.conf"
	as_user redis-server "$tmp/redis.conf" >>"$log" 2>&1 || { have_redis=; say "redis: does not start"; return; }
	# It detaches before it listens.
	deadline=$((SECONDS + 10))
	until "$tmp/load" drop redis redis="$redis" 2>>"$log"; do
		if [ $SECONDS -ge $deadline ]; then
			have_redis=""
			say "redis: does not answer"
			return
		fi
	done
}

stop_servers()
{
	local pid

	allow_daemons
	if [ -s "$tmp/pgdata/postmaster.pid" ]; then
		as_user "$pg_bin/pg_ctl" -D "$tmp/pgdata" -m immediate -w stop >/dev/null 2>&1
	fi
	if [ -s "$tmp/redis/redis.pid" ]; then
		pid=$(cat "$tmp/redis/redis.pid")
		kill "$pid" 2>/dev/null
		tail --pid="$pid" -f /dev/null
	fi
	rm -rf "$tmp"
}

# --- facts --------------------------------------------------------------------

# Lines "name<TAB>value" about the machine and the versions.
facts()
{
	local revision

	printf 'date\t%s\n' "$(date -u '+%Y-%m-%d %H:%M UTC')"
	printf 'cpu\t%s × %s\n' "$(nproc)" "$(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -n 1)"
	printf 'memory\t%s MB\n' "$(awk '/^MemTotal/ {print int($2 / 1024)}' /proc/meminfo)"
	printf 'kernel\t%s\n' "$(uname -sr)"
	printf 'system\t%s\n' "$(. /etc/os-release 2>/dev/null && echo "$PRETTY_NAME")"
	printf 'file system\t%s\n' "$(df -T "$tmp" | awk 'NR == 2 {print $2}')"
	printf 'fdatasync of 8 kB\t%s\n' "$("$tmp/load" fsync "$tmp/redis" |
		sed 's/fsync_p50_us=\([0-9]*\)\tfsync_p99_us=\([0-9]*\)/\1 µs (median), \2 µs (p99)/')"
	printf 'load before\t%s\n' "$(cut -d ' ' -f 1-3 /proc/loadavg)"
	printf 'PostgreSQL\t%s\n' "$("$pg_config" --version)"
	printf 'PostgreSQL settings\t%s\n' "$(postgres_settings | sed 's/ = /=/' | tr '\n' ' ')"
	if [ -n "$have_weir" ]; then
		revision=$(git -C "$root" rev-parse --short HEAD 2>/dev/null)
		[ -z "$revision" ] || git -C "$root" diff --quiet HEAD 2>/dev/null || revision="$revision with changes"
		printf 'weir\t%s%s\n' "$(extension_version weir)" "${revision:+, $revision}"
	fi
	[ -z "$have_pgq" ] || printf 'PgQ\t%s\n' "$(extension_version pgq)"
	if [ -n "$have_redis" ]; then
		printf 'Redis\t%s\n' "$(redis-server --version | sed 's/.* v=\([^ ]*\).*/\1/')"
		printf 'Redis settings\t%s\n' "$(redis_settings | tr '\n' ';')"
	fi
	printf 'compiler\t%s\n' "$("$compiler" --version | head -n 1)"
	printf 'options\t%s\n' "$options"
}

sql()
{
	"$pg_bin/psql" -X -q -A -t -v ON_ERROR_STOP=1 -c "$1"
}

extension_version()
{
	sql "SELECT extversion FROM pg_extension WHERE extname = '$1'"
}
