# Many pauses and resumes by several sessions beside publishers: no error,
# every message exactly once, tables and activity log agree with the states.
use strict;
use warnings FATAL => 'all';

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use WeirPause;
use WeirTest;

my $cycles = setting('CYCLES', 200);
my $seconds = setting('SECONDS', 8);
my $node = pause_node('hammer', conf => "fsync = off\nlog_lock_waits = on");

sub ask { return $node->safe_psql('postgres', $_[0]); }

ask(<<'SQL');
SELECT stream_create('h', 4, 'text', '{"partitioner": "explicit", "segment_messages": 5000}');
CREATE SEQUENCE n CACHE 100;
CREATE TABLE ledger (n bigint NOT NULL);
SQL

# A message and its line in the ledger, in one transaction.
my $single = <<'SQL';
\set p random(0, 3)
WITH v AS MATERIALIZED (SELECT nextval('n') AS n), i AS (INSERT INTO ledger SELECT n FROM v)
SELECT stream_publish('h', n::text, partition => :p) FROM v;
SQL
my $batch = <<'SQL';
\set p random(0, 3)
\set q random(0, 3)
WITH v AS MATERIALIZED (SELECT array_agg(nextval('n')) AS a FROM generate_series(1, 20)), i AS (INSERT INTO ledger SELECT unnest(a) FROM v)
SELECT count(*) FROM v, stream_publish_batch('h', a::text[], partition => :p);
SQL
my $several = <<'SQL';
\set p random(0, 1)
BEGIN;
WITH v AS MATERIALIZED (SELECT nextval('n') AS n), i AS (INSERT INTO ledger SELECT n FROM v)
SELECT stream_publish('h', n::text, partition => :p) FROM v;
WITH v AS MATERIALIZED (SELECT nextval('n') AS n), i AS (INSERT INTO ledger SELECT n FROM v)
SELECT stream_publish('h', n::text, partition => :p + 2) FROM v;
END;
SQL
my $back = <<'SQL';
\set p random(0, 3)
BEGIN;
SELECT stream_publish('h', 'never', partition => :p);
ROLLBACK;
SQL
my $read = <<'SQL';
\set p random(0, 3)
SELECT count(*) FROM stream_read('h', :p, start => 'latest');
SQL

my $set = "\\set p random(0, 3)\n\\set q random(0, 3)\n\\set ms random(1, 20)\n";
my @changes = (
	'pause@6' => "$set SELECT * FROM stream_pause('h', ARRAY[:p, :q]);\n\\sleep :ms ms\n",
	'kept@1' => "$set SELECT * FROM stream_pause('h', ARRAY[:p], detach => false);\n\\sleep :ms ms\n",
	'all@1' => "$set SELECT * FROM stream_pause('h', ARRAY[:p], resume_all => true);\n\\sleep :ms ms\n",
	'whole@1' => "SELECT * FROM stream_pause('h');\n",
	'resume@4' => "$set SELECT * FROM stream_resume('h', ARRAY[:p, :q]);\n\\sleep :ms ms\n",
	'wake@1' => "$set SELECT count(*) FROM stream_read('h', :p, max_messages => 1, resume => true);\n",
	'back@1' => "$set BEGIN;\nSELECT * FROM stream_pause('h', ARRAY[:p]);\nROLLBACK;\n",
	'back_again@1' => "$set BEGIN;\nSELECT * FROM stream_resume('h', ARRAY[:q]);\nROLLBACK;\n",
	'both@1' => "$set BEGIN;\nSELECT * FROM stream_pause('h', ARRAY[:p]);\nSELECT * FROM stream_resume('h', ARRAY[:p]);\nEND;\n");

# Whoever finds nobody in the way for a whole round has not been tested.
my $done = 0;
for my $round (1 .. 8)
{
	my $publishers = start_pgbench($node, 8, [ '-T' => $seconds ], 'single@6' => $single, 'batch@1' => $batch,
		'several@2' => $several, 'back@1' => $back, 'read@1' => $read);
	my $changers = start_pgbench($node, 3, [ '-T' => $seconds ], @changes);
	cmp_ok(stop_pgbench($publishers, "round $round: publishers"), '>', 100, "round $round: they published");
	stop_pgbench($changers, "round $round: changers");
	# pgbench goes on after a deadlock, and only counts it.
	like($_->{out}, qr{number of failed transactions: 0 }, "round $round: no transaction failed") for $publishers, $changers;
	$done = ask(q{SELECT count(*) FROM stream_read('weir.activity', max_messages => NULL)
		WHERE key = 'public.h' AND value::jsonb ->> 'event' = 'resumed'});
	note "round $round: $done resumes so far";
	settles($node, "round $round: settled soon after");
	is(ask(q{SELECT * FROM stream_check('h')}), '', "round $round: stream_check");
	last if $done >= $cycles;
}
cmp_ok($done, '>=', $cycles, 'cycles');

is(ask(<<'SQL'), '', 'every message exactly once');
WITH m AS (SELECT m.value::bigint AS n FROM generate_series(0, 3) p, stream_read('h', p, max_messages => NULL) m)
(SELECT 'lost', n FROM (SELECT n FROM ledger EXCEPT ALL SELECT n FROM m) x)
UNION ALL
(SELECT 'too much', n FROM (SELECT n FROM m EXCEPT ALL SELECT n FROM ledger) x)
LIMIT 10
SQL
log_is_sane($node, 'h', 'after the hammer');
ask(q{SELECT * FROM stream_resume('h')});
settles($node, 'resumed');
becomes($node, 'h', join(' ', map { "$_:active/attached" } 0 .. 3), 'all are attached');
check_clean($node, 'h', 'after the hammer');

# The log is as long as it is right: a start replays from the checkpoint.
my $keeper = keeper_pid($node);
ask("SELECT pg_terminate_backend($keeper)");
wait_until($node, "SELECT EXISTS (SELECT FROM weir.workers WHERE kind = 'keeper' AND doing = 'idle' AND pid <> $keeper)", 'a new keeper');
is(ask(q{SELECT * FROM stream_check('h')}), '', 'stream_check after its start');
is(ask(q{SELECT * FROM stream_check('weir.activity')}), '', 'the activity log');
ok(ask(q{SELECT coalesce((SELECT activity_offset FROM weir.checkpoint), 0) BETWEEN stream_high_watermark('weir.activity', 0) - 1100
	AND stream_high_watermark('weir.activity', 0)}) eq 't', 'the checkpoint has moved');
is(join("\n", grep { m{ERROR:} } split /\n/, slurp_file($node->logfile)), '', 'no error in the log');

$node->stop;
ended_well($node);
done_testing();
