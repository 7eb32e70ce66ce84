#!/bin/sh
# test/lint/run.sh: rules of the project that compilers do not know.
#
#   test/lint/run.sh [--pg-config FILE] [--root DIR] [RULE...]
#
# Prints what is wrong and where, then "ok RULE" or "FAILED RULE" for each rule;
# exits with 1 if one failed.  Each rule says in its head what it wants.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
root=$here/../..
export PG_CONFIG="${PG_CONFIG:-pg_config}"
rules="layers versions install errors sleeps words sizes headers symbols"

while [ $# -gt 0 ]; do
	case $1 in
		--pg-config) PG_CONFIG=$2; shift ;;
		--root) root=$2; shift ;;
		--*) echo "unknown option $1" >&2; exit 2 ;;
		*) break ;;
	esac
	shift
done
[ $# -eq 0 ] || rules=$*

cd "$root"
failed=0
for rule in $rules; do
	if [ -e "$here/$rule.pl" ]; then
		set -- perl -I "$here" "$here/$rule.pl"
	else
		set -- sh "$here/$rule.sh"
	fi
	if "$@"; then
		echo "ok $rule"
	else
		echo "FAILED $rule"
		failed=1
	fi
done
exit $failed
