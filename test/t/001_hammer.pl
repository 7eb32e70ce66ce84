# Publishers that commit, roll back and use savepoints, VACUUM, VACUUM FULL,
# CLUSTER and ANALYZE beside them, readers that remember what they saw:
# nothing that was committed is skipped, nothing comes twice, offsets rise.
#
# WEIR_TEST_SECONDS: how long each of the two rounds takes.
use strict;
use warnings FATAL => 'all';

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use WeirTest;

my $seconds = setting('SECONDS', 12);
my $partitions = 3;

my $node = weir_node('hammer', conf => <<'CONF');
deadlock_timeout = 100ms
max_worker_processes = 16
statement_timeout = 30s
CONF

# Publishers keep a number of their own, $c, and number what they publish:
# value = client.transaction.message and padding.  What they commit they list
# in "sent", in the same transaction.
my $prologue = <<'SQL';
\set seq :seq + 1
\set p random(0, 2)
\set q random(0, 2)
\set pad random(0, 400)
SQL

sub one
{
	my ($i, $partition, $pad) = @_;
	return <<"SQL";
WITH m AS (SELECT stream_publish('s', concat(:client_id, '.', :seq, '.', $i, ' ', repeat('x', $pad)),
                                 'k' || random(), partition => $partition))
INSERT INTO sent SELECT concat(:client_id, '.', :seq, '.', $i), pg_current_xact_id() FROM m;
SQL
}

sub batch
{
	my ($from, $to, $partition, $pad) = @_;
	return <<"SQL";
WITH m AS (SELECT sum(count) AS n FROM stream_publish_batch('s',
             ARRAY(SELECT concat(:client_id, '.', :seq, '.', i, ' ', repeat('y', $pad))
                     FROM generate_series($from, $to) i), partition => $partition))
INSERT INTO sent SELECT concat(:client_id, '.', :seq, '.', i), pg_current_xact_id()
  FROM m, generate_series($from, $to) i WHERE m.n = $to - $from + 1;
SQL
}

my @publishers = (
	'commit@8' => $prologue . one(1, ':p', ':pad'),
	'keyless@2' => $prologue . one(1, 'NULL', ':pad'),
	'large@1' => $prologue . one(1, ':p', '20000'),
	'two@3' => "${prologue}BEGIN;\n" . one(1, ':p', ':pad') . one(2, ':q', ':pad') . "COMMIT;\n",
	'rollback@3' => "${prologue}BEGIN;\n" . one(1, ':p', ':pad') . one(2, ':q', ':pad') . "ROLLBACK;\n",
	'savepoints@3' => "${prologue}BEGIN;\n"
	  . one(1, ':p', ':pad')
	  . "SAVEPOINT a;\n" . one(2, ':p', ':pad') . batch(3, 9, ':q', ':pad') . "ROLLBACK TO a;\n"
	  . "SAVEPOINT b;\n" . one(10, ':p', ':pad') . "RELEASE b;\n"
	  . one(11, ':p', ':pad') . "COMMIT;\n",
	'all_back@1' => "${prologue}BEGIN;\n"
	  . one(1, ':p', ':pad')
	  . "SAVEPOINT a;\n" . one(2, ':p', ':pad') . "RELEASE a;\nROLLBACK;\n",
	'batch@2' => $prologue . batch(1, 150, ':p', ':pad'),
	'batch_back@1' => "${prologue}BEGIN;\n" . batch(1, 150, ':p', ':pad') . "ROLLBACK;\n",
	'repeatable@2' => "${prologue}BEGIN ISOLATION LEVEL REPEATABLE READ;\nSELECT 1;\n"
	  . one(1, ':p', ':pad') . one(2, ':p', ':pad') . "COMMIT;\n",);

my @maintenance = (
	'vacuum@6' => "SELECT segment AS t FROM weir.segment ORDER BY random() LIMIT 1 \\gset\nVACUUM :t;\n",
	'vacuum_open@4' => "SELECT DISTINCT ON (partition) segment AS t FROM weir.segment"
	  . " ORDER BY partition, lower_offset DESC, random() LIMIT 1 \\gset\nVACUUM :t;\n",
	'full@2' => "SELECT segment AS t FROM weir.segment ORDER BY lower_offset + 2000 * random() DESC LIMIT 1 \\gset\n"
	  . "VACUUM FULL :t;\n",
	'cluster@2' => "SELECT segment AS t, indexrelid::regclass AS i FROM weir.segment JOIN pg_index ON indrelid = segment"
	  . " ORDER BY lower_offset + 2000 * random() DESC LIMIT 1 \\gset\nCLUSTER :t USING :i;\n",
	'analyze@1' => "ANALYZE s;\n",
	'analyze_segment@1' => "SELECT segment AS t FROM weir.segment ORDER BY random() LIMIT 1 \\gset\nANALYZE :t;\n",
	'check@1' => "SELECT count(*) FROM stream_check('s');\n",);

sub setup
{
	$node->safe_psql('postgres', <<"SQL");
DROP TABLE IF EXISTS s;
DROP TABLE IF EXISTS sent, seen, polls, control;
SELECT stream_create('s', $partitions, 'text', '{"segment_messages": 400, "segment_bytes": "96kB", "partitioner": "explicit"}');
CREATE INDEX ON s (key);
CREATE TABLE sent (id text, xid xid8);
CREATE TABLE seen (reader text, n bigint, part int, "offset" bigint, ts timestamptz, key text, value text,
                   id text GENERATED ALWAYS AS (split_part(value, ' ', 1)) STORED);
CREATE TABLE polls (reader text, n bigint, part int, position bigint, messages bigint, watermark bigint, snapshot pg_snapshot);
CREATE TABLE control (stop bool);

-- Reads on from where it stands, one transaction a poll, until a poll that
-- began after the word to stop gives nothing.  What lies below the high
-- watermark of a snapshot must be visible in that snapshot.
CREATE OR REPLACE PROCEDURE reader(me text, typed bool, most bigint) LANGUAGE plpgsql AS \$\$
DECLARE
  at bigint[] := array_fill(0::bigint, ARRAY[$partitions]);
  number bigint := 0;
  last bigint;
  got bigint;
  watermark bigint;
  snapshot pg_snapshot;
  polled bigint := 0;
  stopping bool;
  quiet int := 0;
BEGIN
  LOOP
    SELECT EXISTS (SELECT FROM control) INTO stopping;
    COMMIT;
    quiet := quiet + 1;
    FOR p IN 0 .. $partitions - 1 LOOP
      IF typed THEN
        WITH m AS (SELECT * FROM stream_read(NULL::s, p, at[p + 1], most) WITH ORDINALITY),
             i AS (INSERT INTO seen SELECT me, number + ordinality, p, "offset", ts, key, value FROM m)
        SELECT max("offset"), count(*), stream_high_watermark('s', p), pg_current_snapshot()
          FROM m INTO last, got, watermark, snapshot;
      ELSE
        WITH m AS (SELECT * FROM stream_read('s', p, at[p + 1], most) WITH ORDINALITY),
             i AS (INSERT INTO seen SELECT me, number + ordinality, p, "offset", ts, key, value FROM m)
        SELECT max("offset"), count(*), stream_high_watermark('s', p), pg_current_snapshot()
          FROM m INTO last, got, watermark, snapshot;
      END IF;
      at[p + 1] := coalesce(last + 1, at[p + 1]);
      number := number + got;
      polled := polled + 1;
      INSERT INTO polls VALUES (me, polled, p, at[p + 1], got, watermark, snapshot);
      COMMIT;
      IF got > 0 THEN quiet := 0; END IF;
    END LOOP;
    EXIT WHEN stopping AND quiet > 0;
  END LOOP;
END \$\$;
SQL
	return;
}

# One round: everything at once, then the account.
sub hammer
{
	my ($isolation) = @_;
	my $round = "readers in $isolation";
	setup();

	my @readers = map {
		my ($name, $typed, $most) = @$_;
		start_job(
			'psql', '-XAtq', '-v', 'ON_ERROR_STOP=1', '-d', $node->connstr('postgres'),
			'-c', "SET statement_timeout = 0",
			'-c', "SET default_transaction_isolation = '$isolation'",
			'-c', "CALL reader('$name', $typed, $most)")
	} ([ 'all', 'true', 1000000 ], [ 'text', 'false', 1000000 ], [ 'some', 'true', 70 ]);

	my $publishers = start_pgbench($node, 10, [ '-T', $seconds, '-D', 'seq=0' ], @publishers);
	my $maintenance = start_pgbench($node, 3, [ '-T', $seconds, '-R', 30 ], @maintenance);
	stop_pgbench($publishers, "$round: publishers");
	stop_pgbench($maintenance, "$round: maintenance");
	$node->safe_psql('postgres', 'INSERT INTO control VALUES (true)');
	finish_job($_, "$round: a reader ends without an error") for @readers;
	$node->safe_psql('postgres', 
		'CREATE INDEX ON seen (reader, part, "offset"); CREATE INDEX ON sent (id); ANALYZE sent, seen, polls');

	my %account = (
		'sent and not seen' => <<'SQL',
SELECT r.reader, x.* FROM (SELECT DISTINCT reader FROM polls) r,
 LATERAL (SELECT id FROM sent
          EXCEPT ALL
          SELECT id FROM seen WHERE reader = r.reader) x
SQL
		'seen and not sent, or twice' => <<'SQL',
SELECT r.reader, x.* FROM (SELECT DISTINCT reader FROM polls) r,
 LATERAL (SELECT id FROM seen WHERE reader = r.reader
          EXCEPT ALL
          SELECT id FROM sent) x
SQL
		'sent and not in the stream' => <<'SQL',
SELECT id FROM sent
EXCEPT ALL SELECT split_part(value, ' ', 1) FROM s
SQL
		'offsets that did not rise, times that fell' => <<'SQL',
SELECT * FROM (SELECT *, lag("offset") OVER w AS before, lag(ts) OVER w AS ts_before
                 FROM seen WINDOW w AS (PARTITION BY reader, part ORDER BY n)) x
 WHERE "offset" <= before OR ts < ts_before
SQL
		'messages of one publisher in another order' => <<'SQL',
SELECT * FROM (SELECT *, lag(number) OVER (PARTITION BY reader, part, number[1] ORDER BY n) AS before
                 FROM (SELECT reader, part, n, string_to_array(id, '.')::int[] AS number FROM seen) y) x
 WHERE number <= before
SQL
		'readers who did not see the same' => <<'SQL',
SELECT part, "offset", value FROM seen GROUP BY part, "offset", value HAVING count(*) <> 3
SQL
		'below a high watermark and not visible in its snapshot' => <<'SQL',
SELECT p.reader, p.n, p.watermark, p.part, m."offset", m.id
  FROM (SELECT * FROM polls WHERE reader <> 'some' AND watermark > position OFFSET 0) p,
       LATERAL (SELECT * FROM seen m WHERE m.reader = 'all' AND m.part = p.part
                   AND m."offset" >= p.position AND m."offset" < p.watermark OFFSET 0) m,
       LATERAL (SELECT * FROM sent t WHERE t.id = m.id OFFSET 0) t
 WHERE NOT pg_visible_in_snapshot(t.xid, p.snapshot)
SQL
		'high watermarks below a position' => <<'SQL',
SELECT * FROM polls WHERE position > watermark
SQL
		'high watermarks that went back' => <<'SQL',
SELECT * FROM (SELECT *, lag(watermark) OVER (PARTITION BY reader, part ORDER BY n) AS before
                 FROM polls) x WHERE watermark < before
SQL
	);
	for my $name (sort keys %account)
	{
		is($node->safe_psql('postgres', "$account{$name} LIMIT 5"), '', "$round: $name");
	}
	check_clean($node, 's', "after round $round");
	note $node->safe_psql('postgres', <<'SQL');
SELECT (SELECT count(*) FROM sent) || ' sent, ' || (SELECT count(*) FROM polls) || ' polls, '
       || (SELECT count(*) FROM weir.segments) || ' segments, '
       || (SELECT count(*) FROM weir.segments WHERE NOT verified AND blocks > 0) || ' of them unverified'
SQL
	ok($node->safe_psql('postgres', 'SELECT count(*) > 20 FROM weir.segments') eq 't',
		"$round: it rolled all the time");
	ok($node->safe_psql('postgres', 'SELECT count(*) > 1000 FROM sent') eq 't',
		"$round: there was something to see");

	# Sorting them all changes nothing that a reader sees.
	my $before = contents($node, 's');
	$node->safe_psql('postgres', "SELECT * FROM stream_repair('s')");
	is($node->safe_psql('postgres', 'SELECT count(*) FROM weir.segments WHERE NOT verified'),
		'0', "$round: all in order after stream_repair");
	is(contents($node, 's'), $before, "$round: stream_repair changes no message");
	check_clean($node, 's', "after stream_repair, $round");
	return;
}

hammer('read committed');
hammer('repeatable read');

no_alarms($node);
done_testing();
