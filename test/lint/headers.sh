# headers: each header compiles alone, after postgres.h; those of the client
# after nothing.
set -eu

server=$("$PG_CONFIG" --includedir-server)
client=$("$PG_CONFIG" --includedir)
status=0
for header in src/*/*.h; do
	[ -e "$header" ] || continue
	case $header in
		src/client/*) first= ;;
		*) first='#include "postgres.h"' ;;
	esac
	printf '%s\n#include "%s"\n' "$first" "${header#src/}" |
		gcc -fsyntax-only -x c -Wall -Wextra -Wno-unused-parameter -Wno-sign-compare \
			-Wno-missing-field-initializers -Werror -DWEIR_VERSION='"0"' \
			-I src -I "$server" -I "$client" - || {
		echo "$header:1: does not compile alone"
		status=1
	}
done
exit $status
