# private.sh: a PostgreSQL of our own, for demo.sh, test/run.sh and the like.
# To be sourced; the caller has `set -eu` and umask 022.
#
# Nothing is installed into the system's PostgreSQL and no cluster of the system is
# touched.  PostgreSQL finds its files relative to its programs, so the programs
# are copied below a directory of ours, their libraries and share files
# are linked beside them, and weir is built against that copy and installed
# into it.  The same works as any user, on every version.
#
#   say TEXT... / die TEXT...
#   find_postgres            PG_CONFIG and PG_MAJOR: what is installed, else
#                            what the distribution would install
#   need_packages NAME...    installs the missing ones through apt-get
#   find_server_user         SERVER_USER: me, or for root an unprivileged one
#   as_server COMMAND...     runs a command as that user
#   private_postgres DIR     makes the copy; PG_CONFIG and PG_BIN point into it
#   copy_tree FROM TO        the project without what builds and tests leave

PG_SUPPORTED="18 17 16 15"
PG_PACKAGES=yes

say() { printf '%s\n' "$*"; }
die() { printf '%s: %s\n' "${0##*/}" "$*" >&2; exit 1; }

# Settings of the caller's for other servers must not lead us there.
unset $(env | sed -n 's/^\(PG[A-Z]*\)=.*/\1/p') PSQLRC || true
export LC_ALL=C.UTF-8

find_postgres()
{
	if [ -n "${PG_CONFIG:-}" ]; then
		PG_CONFIG=$(command -v "$PG_CONFIG") || die "PG_CONFIG is not a program"
		PG_PACKAGES=no
	else
		debian=/usr/lib/postgresql
		PG_MAJOR=
		# Complete, else with a server, else the one of the distribution.
		for want in lib/pgxs/src/makefiles/pgxs.mk bin/postgres; do
			for major in $PG_SUPPORTED; do
				if [ -z "$PG_MAJOR" ] && [ -x $debian/$major/bin/postgres ] &&
					[ -e $debian/$major/$want ]; then
					PG_MAJOR=$major
				fi
			done
		done
		if [ -z "$PG_MAJOR" ]; then
			command -v apt-get >/dev/null ||
				die "no PostgreSQL found; set PG_CONFIG to the pg_config of one"
			PG_MAJOR=$(distribution_major)
			[ -n "$PG_MAJOR" ] || { apt_update; PG_MAJOR=$(distribution_major); }
		fi
		PG_CONFIG=$debian/$PG_MAJOR/bin/pg_config
	fi
	[ ! -x "$PG_CONFIG" ] || PG_MAJOR=$("$PG_CONFIG" --version | sed 's/^[^0-9]*\([0-9]*\).*/\1/')
	case " $PG_SUPPORTED " in
		*" $PG_MAJOR "*) ;;
		*) die "weir needs PostgreSQL 15 to 18, not '$PG_MAJOR'" ;;
	esac
}

distribution_major()
{
	apt-cache depends postgresql 2>/dev/null |
		sed -n 's/.*Depends: postgresql-\([0-9][0-9]*\)$/\1/p' | head -n 1
}

apt_updated=no
apt_update()
{
	[ $apt_updated = no ] && [ "$(id -u)" -eq 0 ] || return 0
	apt_get -qq update || say "apt-get update failed, going on with the lists that are there"
	apt_updated=yes
}

apt_get()
{
	DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=300 \
		-o Acquire::Retries=3 "$@" </dev/null
}

package_installed()
{
	[ "$(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null)" = installed ]
}

need_packages()
{
	command -v dpkg-query >/dev/null || return 0
	missing=
	for package in "$@"; do
		case $package in
			postgresql-*) [ $PG_PACKAGES = yes ] || continue ;;
		esac
		package_installed "$package" || missing="$missing $package"
	done
	[ -n "$missing" ] || return 0
	[ "$(id -u)" -eq 0 ] ||
		die "these packages are missing; run this as root, or first: sudo apt-get install$missing"

	say "installing:$missing"
	apt_update
	(
		# The packages would make a cluster of the system, and start services.
		cluster=/etc/postgresql-common/createcluster.d/weir-no-cluster.conf
		services=/usr/sbin/policy-rc.d
		[ ! -e $services ] || services=
		log=$(mktemp)
		trap 'rm -f "$cluster" "$log" $services' EXIT
		trap 'exit 130' INT TERM HUP
		mkdir -p "${cluster%/*}"
		echo 'create_main_cluster = false' >"$cluster"
		if [ -n "$services" ]; then
			printf '#!/bin/sh\nexit 101\n' >$services
			chmod 755 $services
		fi
		if ! apt_get -y -q --no-install-recommends install $missing >"$log" 2>&1; then
			tail -n 30 "$log" >&2
			die "apt-get could not install$missing"
		fi
	) || exit 1
}

find_server_user()
{
	if [ "$(id -u)" -ne 0 ]; then
		SERVER_USER=$(id -un)
	elif id -u postgres >/dev/null 2>&1; then
		SERVER_USER=postgres
	else
		SERVER_USER=nobody
	fi
}

as_server()
{
	if [ "$(id -u)" -ne 0 ]; then
		"$@"
	elif command -v runuser >/dev/null; then
		runuser -u "$SERVER_USER" -- "$@"
	else
		setpriv --reuid "$SERVER_USER" --regid "$(id -g "$SERVER_USER")" --init-groups "$@"
	fi
}

private_postgres()
{
	system=$PG_CONFIG
	version=$("$system" --version)
	PG_BIN=$1$("$system" --bindir)
	PG_CONFIG=$PG_BIN/pg_config
	# A copy of another release would not fit the libraries that it links to.
	[ "$("$PG_CONFIG" --version 2>/dev/null)" != "$version" ] || return 0

	rm -rf "$1"
	for dir in "$("$system" --pkglibdir)" "$("$system" --sharedir)"; do
		mkdir -p "$1${dir%/*}"
		cp -Rs "$dir" "$1$dir"
	done
	for dir in "$("$system" --includedir)" "$("$system" --includedir-server)"; do
		[ ! -e "$1$dir" ] || continue
		mkdir -p "$1${dir%/*}"
		ln -s "$dir" "$1$dir"
	done
	# A weir that lies in the system is not ours.
	find "$1" -name 'weir*' -type l -exec rm -f {} +
	# Last, for pg_config is the mark of a complete copy.
	rm -rf "$PG_BIN"
	mkdir -p "$PG_BIN"
	cp -Lp "$("$system" --bindir)"/* "$PG_BIN"
}

copy_tree()
{
	mkdir -p "$2"
	tar -C "$1" -cf - --exclude=.git --exclude='*.o' --exclude='*.so' --exclude='*.bc' \
		--exclude=tmp_check --exclude=./results --exclude=output . |
		tar -C "$2" -xf - --no-same-owner
}
