# Dumps, of every kind, and what becomes of streams that are restored from
# them.
use strict;
use warnings FATAL => 'all';

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use WeirTest;

my $node = weir_node('dump', conf => 'max_worker_processes = 16');
my $dir = $node->basedir;
my @streams = ('public.orders', '"Other Place"."a ""Stream"""', 'public.raw', 'public.empty');
my @some = @streams[ 0, 1 ];
my $databases = 0;

# ---- what there is ----

$node->safe_psql('postgres', <<'SQL');
CREATE ROLE stream_owner LOGIN;
CREATE ROLE stream_reader LOGIN;
CREATE ROLE stream_writer LOGIN;
CREATE DATABASE source;
SQL
$node->safe_psql('source', <<'SQL');
CREATE EXTENSION weir;
GRANT CREATE ON SCHEMA public TO stream_owner;
CREATE SCHEMA "Other Place" AUTHORIZATION stream_owner;
SET ROLE stream_owner;
SELECT stream_create('orders', 3, 'text', '{"segment_messages": 400, "partitioner": "explicit", "segment_bytes": "100MB", "max_message_bytes": 100000}');
CREATE INDEX orders_key ON orders (key);
CREATE UNIQUE INDEX orders_unique ON orders (partition, "offset") INCLUDE (ts);
CREATE INDEX orders_partial ON orders (ts) WHERE key IS NOT NULL;
COMMENT ON TABLE orders IS 'what was ordered';
COMMENT ON COLUMN orders.value IS 'the order';
GRANT SELECT ON orders TO stream_reader;
GRANT INSERT, SELECT ON orders TO stream_writer;
CREATE VIEW recent AS SELECT * FROM orders WHERE "offset" > 900;
SELECT count(stream_publish('orders', repeat(chr(97 + i % 26), 50 + (i * 7919) % 3450), 'k' || i % 100,
                            CASE WHEN i % 5 = 0 THEN '{"n": 1}'::jsonb END, i % 3))
  FROM generate_series(1, 3000) i;
BEGIN;
SELECT count(stream_publish('orders', 'back', partition => i % 3)) FROM generate_series(1, 60) i;
ROLLBACK;
SELECT count(stream_publish('orders', 'after', partition => i % 3)) FROM generate_series(1, 30) i;
SELECT stream_trim('orders', 0, 600);
SELECT stream_create('"Other Place"."a ""Stream"""', 2, 'jsonb', '{"segment_messages": 50}');
SELECT count(stream_publish('"Other Place"."a ""Stream"""', jsonb_build_object('n', i), 'ключ ' || i % 7)) FROM generate_series(1, 400) i;
SELECT stream_create('raw', 1, 'bytea');
SELECT count(stream_publish('raw', decode(repeat(to_hex(i), 2 * (1 + i % 2000)), 'hex'))) FROM generate_series(16, 200) i;
SELECT stream_publish('raw', NULL::bytea, 'tombstone');
SELECT stream_create('empty', 2, 'text', '{"segment_age": "1 day"}');
-- Dropped and made again, in two ways.
SELECT stream_create('gone');
SELECT stream_publish('gone', '{}');
DROP TABLE gone;
DROP TABLE empty;
SELECT stream_create('empty', 2, 'text', '{"segment_age": "2 days"}');
RESET ROLE;
-- A row that lost its table.
SET ROLE stream_owner;
SELECT stream_create('lost');
RESET ROLE;
ALTER EVENT TRIGGER weir_on_drop DISABLE;
DROP TABLE lost;
ALTER EVENT TRIGGER weir_on_drop ENABLE;
SQL
is($node->safe_psql('source', 'SELECT count(*) FROM weir.stream WHERE stream::text ~ \'^[0-9]\''), '1', 'a row without a table');

# ---- how a stream looks ----

# Everything that a dump with its rows must bring back.
sub looks
{
	my ($session, $stream, %opt) = @_;
	my $start = $opt{adopted} ? "''" : 'stream_earliest_offset(p.stream, p.number)';
	return $session->safe_psql('', <<"SQL") . "\n" . contents($session, $stream);
WITH parts AS (SELECT relid FROM pg_partition_tree('$stream'))
SELECT x::text FROM (
  SELECT 'options' AS kind, s.partitions::text AS a, s.options::text AS b, NULL AS c, NULL AS d, NULL AS e
    FROM weir.stream s WHERE stream = '$stream'::regclass
  UNION ALL SELECT 'partition', p.partition::text, p.number::text, $start\::text, stream_high_watermark(p.stream, p.number)::text, NULL
    FROM weir.partition p WHERE stream = '$stream'::regclass
  UNION ALL SELECT 'segment', g.segment::text, g.lower_offset::text, g.upper_offset::text, NULL, NULL
    FROM weir.segments g WHERE stream = '$stream'::regclass
  UNION ALL SELECT 'table', c.oid::regclass::text, c.relowner::regrole::text, c.relacl::text, obj_description(c.oid, 'pg_class'),
         pg_get_expr(c.relpartbound, c.oid) FROM pg_class c WHERE oid IN (SELECT relid FROM parts)
  UNION ALL SELECT 'comment', col_description('$stream'::regclass, 5), NULL, NULL, NULL, NULL
  UNION ALL SELECT 'index', pg_get_indexdef(indexrelid), obj_description(indexrelid, 'pg_class'), NULL, NULL, NULL
    FROM pg_index WHERE indrelid IN (SELECT relid FROM parts)
  UNION ALL SELECT 'trigger', tgrelid::regclass::text, pg_get_triggerdef(oid), tgenabled::text, NULL, NULL
    FROM pg_trigger WHERE tgrelid IN (SELECT relid FROM parts)
  UNION ALL SELECT 'constraint', conrelid::regclass::text, conname, pg_get_constraintdef(oid), NULL, NULL
    FROM pg_constraint WHERE conrelid IN (SELECT relid FROM parts)
) x ORDER BY 1
SQL
}

my %source;
my %adopted;
{
	my $session = one_session($node, 'source');
	for my $stream (@streams)
	{
		check_clean($session, $stream, "$stream, at the source");
		$source{$stream} = looks($session, $stream);
		$adopted{$stream} = looks($session, $stream, adopted => 1);
	}
	$session->quit;
}

# Streams that came out of a dump look as they did, and work.
sub restored
{
	my ($db, $how, %opt) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my $session = one_session($node, $db);
	for my $stream (@{ $opt{streams} || \@streams })
	{
		my $name = "$how, $stream";
		my $expected = $opt{adopted} ? \%adopted : \%source;
		same_lines(looks($session, $stream, %opt), $expected->{$stream}, "$name: looks as it did");
		check_clean($session, $stream, "of $name");
		my @tables = ($stream, split /\n/, $session->safe_psql($db, <<"SQL"));
SELECT min(partition::text) FROM weir.partition WHERE stream = '$stream'::regclass
UNION ALL SELECT min(segment::text) FROM weir.segments WHERE stream = '$stream'::regclass
SQL
		my ($status, $out, $err) = $node->psql($db, "\\set VERBOSITY sqlstate\n"
			. join("\n", map { "INSERT INTO $_ VALUES (0, 5, now());" } @tables), on_error_stop => 0);
		is(scalar(() = $err =~ m{ERROR:\s+WR008}g), scalar(@tables), "$name: guards are in force") or diag $err;

		# Publishing goes on: behind everything, and found by readers.
		my $partitions = partitions_of($session, $stream);
		is($session->safe_psql($db, <<"SQL"), $partitions, "$name: publishing goes on behind everything");
WITH before AS MATERIALIZED (
       SELECT p, coalesce((SELECT max("offset") FROM $stream WHERE partition = p), -1) AS last
         FROM generate_series(0, $partitions - 1) p),
     new AS MATERIALIZED (
       SELECT p, last, (stream_publish('$stream', '{"new": 1}'::text, partition => p)).* FROM before)
SELECT count(*) FROM new WHERE "offset" > last AND partition = p
SQL
		is($session->safe_psql($db, <<"SQL"), $partitions, "$name: readers find it");
SELECT count(*) FROM generate_series(0, $partitions - 1) p,
       LATERAL (SELECT * FROM stream_read('$stream', p, NULL, 1, reverse => true)) m
 WHERE m.value IN ('{"new": 1}', '\\x7b226e6577223a20317d')
SQL
		$session->safe_psql($db, <<"SQL");
SELECT count(stream_publish('$stream', '{"more": 1}'::text, partition => i % $partitions)) FROM generate_series(1, 500) i
SQL
		check_clean($session, $stream, "of $name, after publishing");
		my $all = contents($session, $stream);
		$session->safe_psql($db, "SELECT count(*) FROM stream_repair('$stream')");
		is(contents($session, $stream), $all, "$name: stream_repair changes nothing that is read");
		is($session->safe_psql($db, "SELECT count(*) FROM weir.segments WHERE stream = '$stream'::regclass AND NOT verified"),
			'0', "$name: all in order after stream_repair");
		check_clean($session, $stream, "of $name, repaired");
	}
	$session->quit;
	$node->safe_psql('postgres', "DROP DATABASE $db");
	return;
}

sub new_database
{
	my (@extensions) = @_;
	my $db = 'target' . ++$databases;
	$node->safe_psql('postgres', "CREATE DATABASE $db TEMPLATE template0");
	$node->safe_psql($db, "CREATE EXTENSION $_; GRANT CREATE ON SCHEMA public TO stream_owner") for @extensions;
	return $db;
}

sub dump_with
{
	my ($file, $db, @options) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	command_ok([ 'pg_dump', '-d', $node->connstr($db), '-f', "$dir/$file", @options ], "pg_dump @options");
	return "$dir/$file";
}

sub restore_with
{
	my ($db, $file, @options) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	command_ok([ 'pg_restore', '-d', $node->connstr($db), @options, $file ], "pg_restore @options");
	return;
}

sub replay
{
	my ($db, $file, @options) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	is(script_from($node, $file, db => $db, options => [ '-v', 'ON_ERROR_STOP=1', @options ]), '', "psql @options");
	return;
}

# ---- the whole database ----

my $plain = dump_with('plain.sql', 'source');
unlike(slurp_file($plain), qr{weir\.verified}, 'marks of files are not dumped');

my $db = new_database();
replay($db, $plain);
cmp_ok($node->safe_psql($db, <<'SQL'), '>', 0, 'plain: the physical order is not kept by such a restore');
SELECT count(*) FROM (SELECT "offset" < lag("offset") OVER (PARTITION BY tableoid ORDER BY ctid) AS wrong FROM orders) x WHERE wrong
SQL
restored($db, 'plain');

$db = new_database();
replay($db, $plain, '-1');
restored($db, 'plain, -1');

my $custom = dump_with('custom', 'source', '-Fc');
$db = new_database();
restore_with($db, $custom);
restored($db, 'custom');
$db = new_database();
restore_with($db, $custom, '-1');
restored($db, 'custom, -1', streams => \@some);

my $directory = dump_with('directory', 'source', '-Fd', '-j2');
$db = new_database();
restore_with($db, $directory, '-j2');
restored($db, 'directory, -j2');

$db = new_database();
$node->safe_psql($db, 'CREATE SCHEMA "Other Place"; CREATE TABLE orders (a int);');
restore_with($db, $custom, '--clean', '--if-exists');
restored($db, 'custom, --clean', streams => \@some);

# ---- data alone, into streams that exist and are empty ----

my $schema = dump_with('schema.sql', 'source', '--schema-only');
my $data_plain = dump_with('data.sql', 'source', '--data-only');
my $data_custom = dump_with('data', 'source', '--data-only', '-Fc');

$db = new_database();
replay($db, $schema);
replay($db, $data_plain);
restored($db, 'schema, then data');

$db = new_database();
replay($db, $schema);
restore_with($db, $data_custom);
restored($db, 'schema, then data, custom', streams => \@some);

$db = new_database();
replay($db, $schema);
restore_with($db, $data_custom, '--disable-triggers');
restored($db, 'schema, then data, --disable-triggers', streams => \@some);

# Into streams that have their rows already.
my @data_of_tables = ('--data-only', '-t', 'orders*', '-t', '"Other Place".*', '-t', 'raw*', '-t', 'empty*');
my $tables_plain = dump_with('tables.sql', 'source', @data_of_tables);
my $tables_custom = dump_with('tables', 'source', '-Fc', @data_of_tables);

sub empty_streams
{
	my $target = new_database();
	replay($target, $schema);
	$node->safe_psql($target, "SELECT stream_adopt('$_')") for @streams;
	return $target;
}

$db = empty_streams();
check_clean($node, $_, "of $_, empty and adopted", db => $db) for @streams;
replay($db, $tables_plain);
restored($db, 'data into adopted streams', adopted => 1);
$db = empty_streams();
restore_with($db, $tables_custom, '-j2');
restored($db, 'data into adopted streams, custom', adopted => 1, streams => \@some);
$db = empty_streams();
restore_with($db, $tables_custom, '--disable-triggers');
restored($db, 'data into adopted streams, --disable-triggers', adopted => 1, streams => \@some);

# A second time it is refused, and changes nothing.
$db = empty_streams();
replay($db, $tables_plain);
my $once = contents($node, 'orders', db => $db);
like(script_from($node, $tables_plain, db => $db), qr{ERROR:.*orders}, 'data a second time is refused');
is(contents($node, 'orders', db => $db), $once, 'and changes nothing');
restored($db, 'data twice', adopted => 1, streams => \@some);

# ---- dumps without rows: one stream_adopt for each stream ----

$db = new_database('weir');
replay($db, dump_with('n.sql', 'source', '-n', '"Other Place"'));
$node->safe_psql($db, q{SELECT stream_adopt('"Other Place"."a ""Stream"""')});
restored($db, '-n', adopted => 1, streams => [ $streams[1] ]);

$db = new_database('weir');
restore_with($db, dump_with('n', 'source', '-Fc', '-n', '"Other Place"'), '-1');
$node->safe_psql($db, q{SELECT stream_adopt('"Other Place"."a ""Stream"""')});
restored($db, '-n, custom', adopted => 1, streams => [ $streams[1] ]);

$db = new_database('weir');
replay($db, dump_with('t.sql', 'source', '-t', 'orders', '-t', 'orders_p*'));
fails_with($node, q{SELECT stream_publish('orders', 'x')}, '42809', 'before stream_adopt it is no stream', db => $db);
$node->safe_psql($db, q{SELECT stream_adopt('orders')});
restored($db, '-t', adopted => 1, streams => ['public.orders']);

$db = new_database('weir');
restore_with($db, dump_with('t', 'source', '-Fc', '-t', 'raw', '-t', 'raw_p*'), '-j2');
$node->safe_psql($db, q{SELECT stream_adopt('raw')});
restored($db, '-t, custom', adopted => 1, streams => ['public.raw']);

# The schema alone: streams without messages that begin where their bounds say.
$db = empty_streams();
for my $stream (@streams)
{
	my $partitions = partitions_of($node, $stream, db => $db);
	my $session = one_session($node, $db);
	is(grep({ m{^\(options} } split /\n/, looks($session, $stream, adopted => 1)),
		grep({ m{^\(options} } split /\n/, $adopted{$stream}), "--schema-only, $stream: options");
	$session->safe_psql($db, "SELECT count(stream_publish('$stream', '{\"new\": 1}'::text, partition => i % $partitions)) FROM generate_series(1, 900) i");
	is($session->safe_psql($db, "SELECT count(*) FROM $stream"), '900', "--schema-only, $stream: publish");
	check_clean($session, $stream, "of $stream, --schema-only");
	$session->quit;
}
$node->safe_psql('postgres', "DROP DATABASE $db");

# ---- by the owner, who is no superuser ----

{
	$node->safe_psql('postgres', 'CREATE DATABASE owned OWNER stream_owner');
	$node->safe_psql('owned', 'CREATE EXTENSION weir; GRANT CREATE ON SCHEMA public TO stream_owner');
	$node->safe_psql('owned', <<'SQL', extra_params => [ '-U', 'stream_owner' ]);
SELECT stream_create('mine', 2, 'text', '{"segment_messages": 30, "partitioner": "explicit"}');
CREATE INDEX ON mine (key);
SELECT count(stream_publish('mine', repeat('m', i % 700), 'k' || i, partition => i % 2)) FROM generate_series(1, 300) i;
SQL
	my $session = one_session($node, 'owned');
	$source{'public.mine'} = looks($session, 'public.mine');
	$adopted{'public.mine'} = looks($session, 'public.mine', adopted => 1);
	$session->quit;
	my $file = dump_with('owned.sql', 'owned', '-U', 'stream_owner');
	$db = new_database();
	replay($db, $file);
	restored($db, 'dumped by the owner', streams => ['public.mine']);

	# And restored by him: the tables, then stream_adopt.
	my $tables = dump_with('owned_tables', 'owned', '-Fc', '-U', 'stream_owner', '-t', 'mine*');
	$db = new_database('weir');
		restore_with($db, $tables, '-U', 'stream_owner');
	$node->safe_psql($db, q{SELECT stream_adopt('mine')}, extra_params => [ '-U', 'stream_owner' ]);
	restored($db, 'restored by the owner', adopted => 1, streams => ['public.mine']);
}

# ---- while it is at work ----

{
	$node->safe_psql('postgres', 'CREATE DATABASE busy');
	$node->safe_psql('busy', <<'SQL');
CREATE EXTENSION weir;
SELECT stream_create('busy', 3, 'text', '{"segment_messages": 150, "partitioner": "explicit"}');
CREATE INDEX ON busy (key);
CREATE TABLE sent (partition int, "offset" bigint);
SQL
	my $load = start_pgbench(
		$node, 5, [ '-T', 60, '-R', 1500 ], { db => 'busy' },
		'one@6' => q{INSERT INTO sent SELECT * FROM stream_publish('busy', repeat('o', (random() * 2000)::int), 'k' || random(), partition => (random() * 2)::int);},
		'batch@1' => q{INSERT INTO sent SELECT partition, generate_series(first_offset, last_offset)
			FROM stream_publish_batch('busy', array_fill('b'::text, ARRAY[60]), partition => (random() * 2)::int);},
		'back@1' => "BEGIN;\nSELECT stream_publish('busy', 'back', partition => 1);\nROLLBACK;\n",
		'block@1' => "BEGIN;\nINSERT INTO sent SELECT * FROM stream_publish('busy', 'o', partition => 0);\n"
		  . "INSERT INTO sent SELECT * FROM stream_publish('busy', 'o', partition => 1);\nCOMMIT;\n");
	my $vacuum = start_pgbench($node, 1, [ '-T', 60, '-R', 15 ], { db => 'busy' },
		'vacuum' => "SELECT segment AS t FROM weir.segment ORDER BY random() LIMIT 1 \\gset\nVACUUM :t;\n");
	my @dumps;
	for my $n (1 .. 3)
	{
		wait_until($node, "SELECT count(*) > 1500 * $n FROM sent", 'there is load', db => 'busy');
		push @dumps, dump_with("busy$n", 'busy', $n == 2 ? ('-Fd', '-j2') : '-Fc');
	}
	for my $job ($load, $vacuum)
	{
		$job->{run}->signal('INT');
		finish_job($job);
		unlike($job->{err}, qr{ERROR|FATAL}, 'no error beside pg_dump');
	}
	for my $dump (@dumps)
	{
		$db = new_database();
		restore_with($db, $dump, -d $dump ? '-j2' : ());
		is($node->safe_psql($db, <<'SQL'), '', 'a dump under load: what was committed together came together');
(SELECT 'message', partition, "offset" FROM busy EXCEPT ALL SELECT 'message', * FROM sent)
UNION ALL (SELECT 'account', * FROM sent EXCEPT ALL SELECT 'account', partition, "offset" FROM busy) LIMIT 10
SQL
		check_clean($node, 'busy', 'of a dump under load', db => $db);
		publish($node, 'busy', [ 0, 1, 2 ], 1, 600, db => $db);
		check_clean($node, 'busy', 'of a dump under load, after publishing', db => $db);
		$node->safe_psql($db, q{SELECT * FROM stream_repair('busy')});
		check_clean($node, 'busy', 'of a dump under load, repaired', db => $db);
		$node->safe_psql('postgres', "DROP DATABASE $db");
	}
	check_clean($node, 'busy', 'that was dumped under load', db => 'busy');
}

no_alarms($node);
done_testing();
