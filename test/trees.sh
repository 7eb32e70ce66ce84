#!/bin/sh
# test/trees.sh: runs the tests inside other releases of Debian.
#
#   test/trees.sh DIR [SUITE...] [-- COMMAND...]
#
# As root.  DIR/SUITE becomes a small Debian system (debootstrap) unless it is
# there already; trixie and sid, which have PostgreSQL 17 and 18, if no suite is
# named.  The project is copied into it and the command run there, test/run.sh
# if none is given; what it starts ends with it.  MIRROR names another mirror
# than the one that this machine has its packages from.
#
# Ends with a line for each suite; exits with 1 if the command failed in one.
set -eu
umask 022

top=$(cd "$(dirname "$0")/.." && pwd)
. "$top/test/private.sh"

[ $# -ge 1 ] && [ "${1#-}" = "$1" ] || { sed -n '2,/^set -eu/s/^# \{0,1\}//p' "$0"; exit 2; }
[ "$(id -u)" -eq 0 ] || die "this needs root: it makes system trees and enters them"
mkdir -p "$1"
dir=$(cd "$1" && pwd)
shift
suites=
while [ $# -gt 0 ] && [ "$1" != -- ]; do
	suites="$suites $1"
	shift
done
[ $# -eq 0 ] || shift
[ $# -gt 0 ] || set -- test/run.sh
suites=${suites:-trixie sid}

need_packages debootstrap util-linux
mirror=${MIRROR:-$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' |
	grep '/debian/*$' | head -n 1)}
place=usr/local/src/weir
report=
for suite in $suites; do
	tree=$dir/$suite
	if [ ! -e "$tree/etc/apt/sources.list" ]; then
		say "making $tree"
		debootstrap --variant=minbase "$suite" "$tree" $mirror >"$dir/$suite.log" 2>&1 ||
			{ tail -n 20 "$dir/$suite.log"; die "debootstrap failed"; }
	fi
	rm -rf "${tree:?}/$place"
	copy_tree "$top" "$tree/$place"
	cp /etc/resolv.conf "$tree/etc/resolv.conf"
	say "$suite: $*"
	# In namespaces of its own: mounts and processes go when the command ends.
	if unshare --mount --pid --fork sh -eu -c '
		tree=$1 place=$2
		shift 2
		mount -t proc proc "$tree/proc"
		mkdir -p "$tree/dev/shm"
		mount -t tmpfs -o mode=1777 tmpfs "$tree/dev/shm"
		exec chroot "$tree" sh -c "cd \"\$0\" && exec \"\$@\"" "/$place" "$@"
		' sh "$tree" "$place" "$@" </dev/null; then
		report="$report
$suite: passed"
	else
		report="$report
$suite: FAILED"
	fi
done
say "$report"
case $report in *FAILED*) exit 1 ;; esac
