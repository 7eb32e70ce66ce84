#!/bin/sh
# test/lint/selftest.sh: each rule of lint finds a fault that is planted for it.
#
#   test/lint/selftest.sh [--pg-config FILE]
#
# A small project without a fault passes every rule; then each fault is planted
# alone, its rule must fail and name the place, and the fault is taken out.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
[ "${1:-}" != --pg-config ] || export PG_CONFIG="$2"
tree=$(mktemp -d)
trap 'rm -rf "$tree"' EXIT
cd "$tree"
failures=0 planted=0

lint() { "$here/run.sh" --root "$tree" "$@" >"$tree/out" 2>&1; }

clean()
{
	rm -rf src sql test weir.so
	mkdir -p src/base src/catalog src/append src/client src/sql sql test
	cat >src/init.c <<-'END'
		#include "postgres.h"
		#include "append/append.h"
		#include "catalog/pg_class.h"
	END
	cat >src/base/compat.h <<-'END'
		#if PG_VERSION_NUM < 150000
		#error "too old"
		#endif
	END
	echo 'extern int weir_append(int n);' >src/append/append.h
	cat >src/append/append.c <<-'END'
		/* never sleeps: no sleep(1) here; PG_VERSION_NUM is not ours */
		#include "postgres.h"
		#include "append/append.h"
		#include "base/compat.h"
		int
		weir_append(int n)
		{
			ereport(ERROR, (errcode(ERRCODE_SYNTAX_ERROR), errmsg("a ) \" and %s", f(n))));
			ereport(LOG, errmsg("fine"));
			return n;
		}
	END
	printf '#include <stdio.h>\n#include "libpq-fe.h"\n' >src/client/client.c
	cat >src/sql/10.sql <<-'END'
		-- CREATE OR REPLACE is what we never do; nor here: ';
		SET LOCAL search_path TO pg_catalog, pg_temp;
		CREATE SCHEMA weir;
		CREATE TABLE weir.stream (n integer DEFAULT 1);
		CREATE FUNCTION @extschema@.stream_f(a text, b integer DEFAULT least(1, 2), OUT c text) RETURNS text
			LANGUAGE c AS 'MODULE_PATHNAME';
		COMMENT ON FUNCTION @extschema@.stream_f(text, integer) IS 'IF NOT EXISTS; all is well';
		CREATE FUNCTION weir.g(double precision) RETURNS text LANGUAGE plpgsql
			SECURITY DEFINER SET search_path TO pg_catalog, pg_temp AS $$ BEGIN RETURN ';'; END $$;
		COMMENT ON FUNCTION weir.g(double precision) IS 'g';
	END
	echo "SELECT 'sleep well';" >sql/a.sql
	echo '# sleep 1 is what we never do' >test/a.pl
}

# caught RULE PLACE WHAT: the fault was planted, the rule must say so.
caught()
{
	planted=$((planted + 1))
	if lint "$1"; then
		echo "not caught by $1: $3"
		failures=$((failures + 1))
	elif ! grep -q "^$2:[0-9]*: " out; then
		echo "caught by $1, but not at $2: $3"
		cat out
		failures=$((failures + 1))
	fi
	clean
}

library() { echo "$1" | gcc -shared -fPIC -x c -o weir.so -; }

clean
library 'int weir_f(void) { return 0; } static int g(void) { return 0; } int _PG_init(void) { return g(); }'
lint || { echo "a project without a fault does not pass:"; cat out; exit 1; }
clean

echo '#include "append/append.h"' >>src/base/compat.h
caught layers src/base/compat.h 'a lower layer includes a higher one'
mkdir src/extra && echo >src/extra/a.c
caught layers src/extra/a.c 'a folder that is no layer'
echo '#include "postgres.h"' >>src/client/client.c
caught layers src/client/client.c 'the client includes a header of the server'
echo '#include "../base/compat.h"' >>src/append/append.c
caught layers src/append/append.c 'an include around the layers'
echo >src/client/client.h
echo '#include "client/client.h"' >>src/append/append.c
caught layers src/append/append.c 'the server includes the client'

echo '#if PG_VERSION_NUM >= 160000' >>src/append/append.c
caught versions src/append/append.c 'a version outside compat.h'

echo 'CREATE OR REPLACE FUNCTION weir.h() RETURNS text LANGUAGE c;' >>src/sql/10.sql
caught install src/sql/10.sql 'OR REPLACE'
echo 'CREATE TABLE IF NOT EXISTS weir.t ();' >>src/sql/10.sql
caught install src/sql/10.sql 'IF NOT EXISTS'
sed -i 's/SET search_path TO pg_catalog, pg_temp AS/AS/' src/sql/10.sql
caught install src/sql/10.sql 'SECURITY DEFINER without search_path'
sed -i 's/SECURITY DEFINER SET search_path TO pg_catalog, pg_temp AS/AS/' src/sql/10.sql
caught install src/sql/10.sql 'PL/pgSQL without search_path'
sed -i 's/@extschema@.stream_f/stream_f/' src/sql/10.sql
caught install src/sql/10.sql 'a function without a schema'
sed -i 's/weir.stream /public.stream /' src/sql/10.sql
caught install src/sql/10.sql 'a table in another schema'
sed -i '/^COMMENT.*stream_f/d' src/sql/10.sql
caught install src/sql/10.sql 'no comment'
sed -i 's/stream_f(text, integer)/stream_f(text)/' src/sql/10.sql
caught install src/sql/10.sql 'a comment on another function'
sed -i '/^SET LOCAL/d' src/sql/10.sql
caught install src/sql/10.sql 'no search_path first'

sed -i 's/errcode(ERRCODE_SYNTAX_ERROR), //' src/append/append.c
caught errors src/append/append.c 'an error without errcode'

for fault in 'src/append/append.c pg_usleep(1000L);' "sql/a.sql SELECT pg_sleep(1);" \
	'test/a.pl sleep 1;' 'test/a.pl usleep(1);' 'test/a.sh sleep $n' 'test/a.pl select(undef, undef, undef, 0.1);'; do
	echo "${fault#* }" >>"${fault%% *}"
	caught sleeps "${fault%% *}" "${fault#* }"
done

for fault in 'src/append/append.c /* TODO: this */' 'sql/a.sql -- FIXME' 'test/a.pl # XXX' \
	'src/sql/10.sql -- HACK' 'test/a.sh # enough for now'; do
	echo "${fault#* }" >>"${fault%% *}"
	caught words "${fault%% *}" "${fault#* }"
done

yes '' | head -n 801 >src/append/long.h
caught sizes src/append/long.h 'a long file'
{ printf 'int\nf(void)\n{\n'; yes '' | head -n 79; echo '}'; } >src/append/long.c
caught sizes src/append/long.c 'a long function'

echo 'extern Relation weir_open(MissingType t);' >>src/append/append.h
caught headers src/append/append.h 'a header that does not stand alone'

library 'int weir_f(void) { return 0; } int helper(void) { return 0; }'
caught symbols weir.so 'a symbol without our prefix'

echo "$planted faults planted, $((planted - failures)) caught"
[ $failures -eq 0 ]
