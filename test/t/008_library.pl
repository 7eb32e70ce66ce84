# Two builds of the library whose shared memory differs, alive in one server
# (a package was upgraded and not every session is new): the second is refused
# before it does anything.
use strict;
use warnings FATAL => 'all';

use Cwd qw(abs_path);
use File::Basename qw(dirname);
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use WeirTest;

my $top = abs_path(dirname(__FILE__) . '/../..');
my $dir = PostgreSQL::Test::Utils::tempdir;

# The second build.
my $log = "$dir/build.log";
my $made = system(
	qq{cp -R '$top/Makefile' '$top/weir.control' '$top/src' '$dir' && find '$dir' -name '*.o' -exec rm -f {} + && }
	. qq{make -C '$dir' PG_CONFIG=pg_config COPT='-DWEIR_SHMEM_LAYOUT=99 -O0 -g0' -j2 weir.so >'$log' 2>&1}) == 0;
plan skip_all => 'the library cannot be built here: ' . (-e $log ? slurp_file($log) : 'no source')
  if !$made;

my $node = weir_node('library');
$node->safe_psql('postgres', <<'SQL');
SELECT stream_create('s', 1, 'text');
SELECT stream_publish('s', 'first');
ALTER EVENT TRIGGER weir_on_ddl_end DISABLE;
SQL
# In a session that does not load the first one.
$node->safe_psql('postgres', <<"SQL");
CREATE SCHEMA other;
CREATE FUNCTION other.publish(stream regclass, value text, key text DEFAULT NULL, headers jsonb DEFAULT NULL,
                              partition int DEFAULT NULL, expected_offset bigint DEFAULT NULL,
                              OUT partition int, OUT "offset" bigint)
  LANGUAGE c AS '$dir/weir', 'weir_stream_publish';
CREATE FUNCTION other.read(stream regclass, partition int DEFAULT NULL, "offset" bigint DEFAULT NULL,
                           max_messages bigint DEFAULT 1000, start text DEFAULT NULL, stop_offset bigint DEFAULT NULL,
                           reverse bool DEFAULT false, resume bool DEFAULT false, wait interval DEFAULT NULL)
  RETURNS TABLE (partition int, "offset" bigint, ts timestamptz, key text, value text, headers jsonb)
  LANGUAGE c AS '$dir/weir', 'weir_stream_read';
SQL

$node->safe_psql('postgres', 'ALTER EVENT TRIGGER weir_on_ddl_end ENABLE');

my $after = $node->safe_psql('postgres', 'SELECT count(*), max("offset") FROM s');
fails_with($node, q{SELECT other.publish('s', 'second')}, 'WR011', 'publish by another build',
	like => qr{another build.*layout \d+, this build in layout 99}s);
fails_with($node, q{SELECT * FROM other.read('s')}, 'WR011', 'read by another build');
fails_with($node, q{BEGIN; SAVEPOINT a; SELECT other.publish('s', 'second'); ROLLBACK TO a; COMMIT},
	'WR011', 'in a subtransaction');
is($node->safe_psql('postgres', 'SELECT count(*), max("offset") FROM s'), $after, 'nothing changed');
publish($node, 's', [0], 1, 5);
check_clean($node, 's', 'after another build was refused');

# The other one is first: then it is ours that is refused, until a restart.
$node->restart;
is($node->safe_psql('postgres', q{SELECT "offset" FROM other.publish('s', 'other')}), '6', 'the other build is first');
fails_with($node, q{SELECT stream_publish('s', 'ours')}, 'WR011', 'publish by ours is refused');
fails_with($node, q{SELECT * FROM stream_read('s')}, 'WR011', 'read by ours is refused');
is($node->safe_psql('postgres', q{SELECT "offset" FROM other.publish('s', 'other')}), '7', 'the other goes on');
$node->restart;
is($node->safe_psql('postgres', q{SELECT "offset" FROM stream_publish('s', 'ours')}), '8', 'ours after a restart');
check_clean($node, 's', 'at the end');

no_alarms($node);
done_testing();
