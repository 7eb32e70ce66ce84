# weir: partitioned streams inside PostgreSQL
#
#   make                      build the library and the install script
#   make install              into the PostgreSQL that pg_config belongs to
#   make installcheck         SQL and isolation tests against a running server
#   make check-all            every test, on private servers (test/run.sh)
#   make lint                 rules that the compiler does not know
#   make bench                figures (test/bench)
#   make WEIR_DEBUG=1         with debug points, for some of the tests

EXTENSION   = weir
EXTVERSION  = $(shell sed -n "s/^default_version *= *'\(.*\)'/\1/p" weir.control)
MODULE_big  = weir
OBJS        = $(patsubst %.c,%.o,$(sort $(wildcard src/*.c src/*/*.c)))
DATA_built  = weir--$(EXTVERSION).sql
DATA        = $(filter-out weir--$(EXTVERSION).sql,$(sort $(wildcard src/sql/upgrade/weir--*--*.sql)))

PG_CPPFLAGS = -I$(srcdir)/src -DWEIR_VERSION='"$(EXTVERSION)"'
PG_CFLAGS   = -Wall -Wextra -Wmissing-prototypes -Wno-unused-parameter \
              -Wno-sign-compare -Wno-missing-field-initializers \
              $(if $(WEIR_DEBUG),-DWEIR_DEBUG)

REGRESS        = $(patsubst sql/%.sql,%,$(sort $(wildcard sql/*.sql)))
ISOLATION      = $(patsubst test/isolation/specs/%.spec,%,$(sort $(wildcard test/isolation/specs/*.spec)))
ISOLATION_OPTS = --inputdir=test/isolation --outputdir=test/isolation/output
TAP_TESTS      = 1
PROVE_TESTS    = $(sort $(wildcard test/t/*.pl))
EXTRA_CLEAN    = weir--$(EXTVERSION).sql test/isolation/output tmp_check

# JIT bitcode is of no use to an extension whose work is not in expressions.
override with_llvm = no

PG_CONFIG ?= pg_config
PGXS := $(shell $(PG_CONFIG) --pgxs)
include $(PGXS)

PROVE_FLAGS += -I test/perl

HEADERS_ALL = $(wildcard src/*/*.h)
$(OBJS): $(HEADERS_ALL)

SQL_PARTS = $(sort $(wildcard src/sql/*.sql))
weir--$(EXTVERSION).sql: $(SQL_PARTS) weir.control
	{ printf '%s\n' '\echo Use "CREATE EXTENSION weir" to load this file. \quit'; \
	  cat $(SQL_PARTS); } > $@

.PHONY: check-all lint bench
check-all:
	test/run.sh

lint:
	test/lint/run.sh

bench:
	test/bench/run.sh
	test/bench/pause.sh
	test/bench/consume.sh
