# symbols: what the library exports has our name; needs weir.so, built before.
set -eu

[ -e weir.so ] || { echo "weir.so:1: not built, nothing looked at"; exit 0; }
nm -D --defined-only weir.so | awk '
	$NF !~ /^(weir_|pg_finfo_weir_|Pg_magic_func$|_PG_init$)/ {
		print "weir.so:1: exports " $NF
		status = 1
	}
	END { exit status }'
