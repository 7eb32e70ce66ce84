#!/bin/sh
# test/run.sh: builds weir and runs its tests.
#
#   test/run.sh                   everything
#   test/run.sh PART...           some of: --lint --build --regress --isolation --tap
#   test/run.sh --tap [FILE...]   these TAP tests (test/t/*.pl)
#   --keep                        keeps the working directory
#
# Needs a shell and apt-get.  As root (or with sudo) it installs the packages
# that are missing; when nothing is missing any user can run it.  It works on a
# copy of the project in /tmp, with a private copy of PostgreSQL and a private
# server (Unix socket only), root's tests run as an unprivileged user, and
# nothing of it stays behind unless a test failed.
#
#   build      gcc and clang with -Werror, and with debug points if there are any
#   lint       rules that compilers do not know (test/lint), and that lint works
#   regress    sql/ against expected/
#   isolation  test/isolation
#   tap        test/t
#
# The last line is "N passed, N failed"; each build, each rule of lint, each
# regression test, isolation spec and TAP file is one.
set -eu
umask 022

top=$(cd "$(dirname "$0")/.." && pwd)
. "$top/test/private.sh"

main()
{
	parts= files= keep=no
	while [ $# -gt 0 ]; do
		case $1 in
			--build | --lint | --regress | --isolation | --tap) parts="$parts ${1#--}" ;;
			--keep) keep=yes ;;
			-h | --help) sed -n '2,/^set -eu/s/^# \{0,1\}//p' "$0"; exit 0 ;;
			-*) die "unknown option $1; --help shows the known ones" ;;
			*) files="$files test/t/${1##*/}" ;;
		esac
		shift
	done
	if [ -n "$files" ]; then
		wanted tap && [ -n "$parts" ] || die "only --tap takes files"
		for file in $files; do
			[ -f "$top/$file" ] || die "there is no $file"
		done
	fi
	[ -n "$parts" ] || parts="build lint regress isolation tap"

	cd /
	prepare
	run_builds
	if wanted lint; then run_lint; fi
	if [ -n "$tests" ] && [ -e "$work/$tests.built" ]; then
		if wanted regress || wanted isolation; then run_server_tests; fi
		if wanted tap; then run_tap; fi
	fi
	finish
}

wanted() { case " $parts " in *" $1 "* | "  ") return 0 ;; *) return 1 ;; esac; }

# ok NAME / failed NAME [LOG]: counts a test, shows the log of a failed one
ok() { say "ok      $1"; echo ok >>"$work/results"; }
failed()
{
	echo failed >>"$work/results"
	say "FAILED  $1$([ $# -lt 2 ] || { say; tail -n 100 "$2" | sed 's/^/        /'; })"
}
count() { grep -c "^$1\$" "$work/results" || true; }

prepare()
{
	find_postgres
	set -- "postgresql-$PG_MAJOR" "postgresql-server-dev-$PG_MAJOR" gcc libc6-dev make perl libipc-run-perl
	find_clang
	if wanted build && [ -z "$clang" ]; then set -- "$@" clang; fi
	if wanted tap; then set -- "$@" pgbouncer python3-psycopg; fi
	need_packages "$@"
	find_clang
	find_server_user

	export TMPDIR=/tmp
	work=$(mktemp -d /tmp/weir-test.XXXXXX)
	trap 'stop_server; [ $keep = yes ] || rm -rf "$work"' EXIT
	trap 'exit 130' INT TERM HUP
	chmod 755 "$work"
	: >"$work/results"
	cd "$work"
	export HOME="$work"
	say "$("$PG_CONFIG" --version), as $SERVER_USER, in $work"
	private_postgres "$work/postgresql"
	[ "$(id -u)" -ne 0 ] || chown -R "$SERVER_USER" "$work"
	started=$(date +%s)
}

find_clang()
{
	clang=$(command -v clang || ls /usr/bin/clang-[0-9]* 2>/dev/null | sort -V | tail -n 1)
}

# The tests run on the build with debug points, where the source has any.
run_builds()
{
	tests=
	if wanted regress || wanted isolation || wanted tap; then
		tests=gcc
		if grep -rqs WEIR_DEBUG "$top/src" --include='*.[ch]'; then tests=debug; fi
	fi
	if wanted build || wanted lint || [ "$tests" = gcc ]; then build gcc gcc & fi
	if [ "$tests" = debug ]; then build debug gcc WEIR_DEBUG=1 & fi
	if wanted build; then
		# Flags and attributes that were chosen for gcc are no news.
		quiet="-Wno-unknown-warning-option -Wno-ignored-optimization-argument"
		quiet="$quiet -Wno-unused-command-line-argument -Wno-ignored-attributes"
		build clang "$clang" COPT="-Werror $quiet" &
	fi
	wait
	[ -z "$tests" ] || [ ! -e "$work/$tests.built" ] || install_build "$work/$tests"
}

# build NAME COMPILER [MAKE-ARGUMENT...]
build()
{
	name=$1 compiler=$2
	shift 2
	copy_tree "$top" "$work/$name"
	[ "$(id -u)" -ne 0 ] || chown -R "$SERVER_USER" "$work/$name"
	if as_server make -C "$work/$name" PG_CONFIG="$PG_CONFIG" CC="$compiler" COPT=-Werror "$@" all \
		>"$work/$name.log" 2>&1; then
		touch "$work/$name.built"
		ok "build: $name"
	else
		failed "build: $name" "$work/$name.log"
	fi
}

install_build()
{
	as_server make -C "$1" PG_CONFIG="$PG_CONFIG" install >"$work/install.log" 2>&1 ||
		{ cat "$work/install.log"; die "make install failed"; }
}

run_lint()
{
	as_server "$work/gcc/test/lint/run.sh" --pg-config "$PG_CONFIG" >"$work/lint.log" 2>&1 || true
	grep -v '^ok ' "$work/lint.log" || true
	grep '^ok ' "$work/lint.log" | while read -r _ name; do ok "lint: $name"; done
	grep -c '^FAILED ' "$work/lint.log" >"$work/lint.failed" || true
	yes failed | head -n "$(cat "$work/lint.failed")" >>"$work/results"
	grep -q '^ok \|^FAILED ' "$work/lint.log" || failed "lint"
	if as_server "$work/gcc/test/lint/selftest.sh" --pg-config "$PG_CONFIG" >"$work/selftest.log" 2>&1; then
		ok "lint: selftest"
	else
		failed "lint: selftest" "$work/selftest.log"
	fi
}

start_server()
{
	data=$work/data
	as_server "$PG_BIN/initdb" -D "$data" -U postgres -A trust -E UTF8 --locale=C.UTF-8 \
		--no-sync >"$work/initdb.log" 2>&1 || { cat "$work/initdb.log"; die "initdb failed"; }
	as_server tee -a "$data/postgresql.conf" <"$top/test/server.conf" >/dev/null
	echo "unix_socket_directories = '$work'" | as_server tee -a "$data/postgresql.conf" >/dev/null
	as_server "$PG_BIN/pg_ctl" start -D "$data" -l "$data/server.log" -w -s ||
		{ as_server cat "$data/server.log"; die "the server did not start"; }
}

stop_server()
{
	if [ -n "${data:-}" ] && [ -e "$data/postmaster.pid" ]; then
		as_server "$PG_BIN/pg_ctl" stop -D "$data" -m fast -w -s || true
	fi
}

run_server_tests()
{
	start_server
	if wanted regress; then installcheck regress "$work/$tests/sql"/*.sql; fi
	if wanted isolation; then installcheck isolation "$work/$tests/test/isolation/specs"/*.spec; fi
	stop_server
	# Nothing of the kind that no test's output shows.
	if as_server grep -E 'PANIC|TRAP:|terminated by signal|leak|still referenced' "$data/server.log" \
		>"$work/alarms"; then
		failed "log of the server" "$work/alarms"
	else
		ok "log of the server"
	fi
}

# make installcheck with one of its parts
make_installcheck()
{
	part=$1
	shift
	for other in REGRESS ISOLATION TAP_TESTS; do
		[ $other = "$part" ] || set -- "$@" "$other="
	done
	as_server env PGHOST="$work" PGPORT=5432 PGUSER=postgres \
		make -C "$work/$tests" PG_CONFIG="$PG_CONFIG" "$@" installcheck
}

installcheck()
{
	name=$1
	shift
	[ -e "$1" ] || return 0
	log=$work/$name.log
	status=0
	make_installcheck "$(echo "$name" | tr a-z A-Z)" >"$log" 2>&1 || status=$?
	# "test x ... ok" up to 15, "ok 1 - x" from 16 on.
	sed -n -e 's/^test \([^ ]*\) *\.\.\. ok .*/ok \1/p' \
		-e 's/^test \([^ ]*\) *\.\.\. FAILED.*/failed \1/p' \
		-e 's/^ok [0-9]* *[-+] \([^ ]*\).*/ok \1/p' \
		-e 's/^not ok [0-9]* *[-+] \([^ ]*\).*/failed \1/p' "$log" >"$work/$name.list"
	while read -r result test; do $result "$name: $test"; done <"$work/$name.list"
	if [ $status -ne 0 ]; then
		find "$work/$tests" -name regression.diffs -newer "$work/$tests.built" -exec cat {} + -exec rm {} +
		grep -q '^failed' "$work/$name.list" || failed "$name" "$log"
	elif [ "$(wc -l <"$work/$name.list")" -ne $# ]; then
		failed "$name: ran $(wc -l <"$work/$name.list") of $# tests" "$log"
	fi
}

run_tap()
{
	if [ -z "$files" ]; then
		files=$(cd "$top" && ls test/t/*.pl 2>/dev/null || true)
	fi
	[ -n "$files" ] || return 0
	log=$work/tap.log
	make_installcheck TAP_TESTS PROVE="/usr/bin/prove -j$(nproc)" PROVE_TESTS="$(echo $files)" \
		>"$log" 2>&1 || true
	before=$(count failed)
	for file in $files; do
		result=$(sed -n "s|^\(\[[^]]*\] \)\{0,1\}$file \.\.* *||p" "$log" | head -n 1)
		case $result in
			ok*) ok "tap: $file" ;;
			skipped*) say "$result: $file" ;;
			*)
				failed "tap: $file"
				logs=$work/$tests/tmp_check/log
				name=$(basename "$file" .pl)
				for each in "$logs/regress_log_$name" "$logs/${name}"_*.log; do
					[ -e "$each" ] || continue
					say "        last lines of ${each##*/}:"
					tail -n 30 "$each" | sed 's/^/        /'
				done
				;;
		esac
	done
	if [ "$(count failed)" -ne "$before" ]; then sed 's/^/        /' "$log"; fi
}

finish()
{
	if [ "$(count failed)" -ne 0 ]; then
		keep=yes
		say "what is left of it lies in $work"
	fi
	say "$(($(date +%s) - started)) seconds"
	say "$(count ok) passed, $(count failed) failed"
	[ "$(count failed)" -eq 0 ]
}

main "$@"
