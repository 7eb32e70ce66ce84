# A streaming standby reads what the primary reads; publishing goes on after a
# promotion.
use strict;
use warnings FATAL => 'all';

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use WeirTest;

my $primary = weir_node('primary', init => [ allows_streaming => 1 ],
	conf => "hot_standby_feedback = on\nmax_prepared_transactions = 5");
$primary->backup('base');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($primary, 'base', has_streaming => 1);
$standby->start;

# The same questions, the same answers.
my $questions = <<'SQL';
SELECT 'check', * FROM stream_check('s');
SELECT 'ends', p, stream_earliest_offset('s', p), stream_high_watermark('s', p), stream_next_offset('s', p)
  FROM generate_series(0, 1) p;
SELECT 'typed', p, count(*), md5(string_agg(m::text, E'\n'))
  FROM generate_series(0, 1) p, stream_read(NULL::s, p, NULL, NULL) m GROUP BY p ORDER BY p;
SELECT 'text', p, count(*), md5(string_agg(m::text, E'\n'))
  FROM generate_series(0, 1) p, stream_read('s', p, NULL, NULL) m GROUP BY p ORDER BY p;
SELECT 'reverse', p, count(*), md5(string_agg(m::text, E'\n'))
  FROM generate_series(0, 1) p, stream_read('s', p, NULL, 300, reverse => true) m GROUP BY p ORDER BY p;
SELECT 'middle', p, count(*), min(m."offset"), max(m."offset")
  FROM generate_series(0, 1) p, stream_read('s', p, 150, 40, stop_offset => 180) m GROUP BY p ORDER BY p;
SELECT 'times', p, n, (SELECT stream_offset_at('s', p, ts, 'first')), (SELECT stream_offset_at('s', p, ts, 'last'))
  FROM generate_series(0, 1) p,
       LATERAL (SELECT row_number() OVER (ORDER BY "offset") AS n, ts
                  FROM s WHERE partition = p ORDER BY "offset" LIMIT 300) x
 WHERE n % 37 = 0 ORDER BY p, n;
SELECT 'segments', partition, segment, lower_offset, upper_offset, blocks, verified FROM weir.segments ORDER BY 2, 4;
SQL

sub same
{
	my ($name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	$primary->wait_for_catchup($standby, 'replay', $primary->lsn('insert'));
	my $there = $primary->safe_psql('postgres', $questions);
	is($standby->safe_psql('postgres', $questions), $there, $name);
	unlike($there, qr{^check}m, "$name: stream_check");
	return;
}

# A reader on the standby that stays connected, with caches of its own.
my $reader = $standby->background_psql('postgres');
my $from = 0;

sub reader_goes_on
{
	my ($expected, $name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	$primary->wait_for_catchup($standby, 'replay', $primary->lsn('insert'));
	my ($count, $next, $watermark) = split /\|/, $reader->query_safe(<<"SQL");
SELECT count(*), coalesce(max("offset") + 1, $from), stream_high_watermark('s', 0)
  FROM stream_read('s', 0, $from, NULL);
SQL
	is("$count $next", "$expected $watermark", $name);
	$from = $next;
	return;
}

$primary->safe_psql('postgres', <<'SQL');
SELECT stream_create('s', 2, 'text', '{"segment_messages": 100, "partitioner": "explicit"}');
CREATE INDEX ON s (key);
SQL
publish($primary, 's', [ 0, 1 ], 1, 500, pad => 100);
same('after publishing and rolls');
reader_goes_on(250, 'a reader on the standby gets it all');

# Undecided and rolled back.
my $open = $primary->background_psql('postgres');
$open->query_safe(q{BEGIN; SELECT stream_publish('s', 'open', partition => 0);});
publish($primary, 's', [0], 501, 530);
$primary->safe_psql('postgres', q{BEGIN; SELECT stream_publish('s', 'back', partition => 1) FROM generate_series(1, 40); ROLLBACK});
publish($primary, 's', [1], 531, 540);
same('with an open transaction');
reader_goes_on(0, 'nothing beyond a message that is undecided on the primary');
my $sub = $primary->background_psql('postgres');
$sub->query_safe(q{BEGIN; SAVEPOINT a; SELECT stream_publish('s', 'sub', partition => 0); SAVEPOINT b; SELECT stream_publish('s', 'sub sub', partition => 0); RELEASE b;});
$open->query_safe('COMMIT');
publish($primary, 's', [0], 541, 550);
reader_goes_on(31, 'up to an undecided one of a subtransaction');
same('with an open subtransaction');
$sub->query_safe('ROLLBACK TO a; COMMIT');
reader_goes_on(10, 'past those that were rolled back');
$primary->safe_psql('postgres', q{BEGIN; SELECT stream_publish('s', 'prepared', partition => 0); PREPARE TRANSACTION 'p'});
publish($primary, 's', [0], 551, 560);
reader_goes_on(0, 'nothing beyond a prepared one');
$primary->safe_psql('postgres', q{COMMIT PREPARED 'p'});
reader_goes_on(11, 'and on after COMMIT PREPARED');

# More subtransactions than a snapshot holds one by one.
$sub->query_safe(<<'SQL');
BEGIN;
DO $$ BEGIN
  FOR i IN 1 .. 100 LOOP
    BEGIN PERFORM stream_publish('s', 'many ' || i, partition => 0); EXCEPTION WHEN division_by_zero THEN END;
  END LOOP;
END $$;
SQL
publish($primary, 's', [0], 561, 570);
reader_goes_on(0, 'nothing beyond many subtransactions that are open');
same('with many open subtransactions');
$sub->query_safe('COMMIT');
reader_goes_on(110, 'all of them after the commit');
same('after all of it');

# A snapshot of the standby stays as it is.
$reader->query_safe('BEGIN ISOLATION LEVEL REPEATABLE READ');
reader_goes_on(0, 'repeatable read begins');
publish($primary, 's', [0], 571, 590);
$primary->wait_for_catchup($standby, 'replay', $primary->lsn('insert'));
is($reader->query_safe("SELECT count(*) FROM stream_read('s', 0, $from, NULL)"), '0',
	'repeatable read sees nothing new on the standby');
$reader->query_safe('COMMIT');
reader_goes_on(20, 'the next transaction does');

# Vacuumed tails, rewritten heaps.
$primary->safe_psql('postgres', q{BEGIN; SELECT stream_publish('s', 'back' || repeat('.', 200), partition => 0) FROM generate_series(1, 70); ROLLBACK});
same('before a dead tail');
reader_goes_on(0, 'nothing of a dead tail');
$primary->safe_psql('postgres', 'VACUUM ' . open_segment($primary, 's', 0));
same('after VACUUM of a dead tail');
publish($primary, 's', [0], 591, 620);
reader_goes_on(30, 'the offsets of a dead tail, given again');
$primary->safe_psql('postgres', "VACUUM FULL $_")
  for split /\n/, $primary->safe_psql('postgres', 'SELECT segment FROM weir.segments WHERE blocks > 0');
same('heaps rewritten by VACUUM FULL, not verified');
$primary->safe_psql('postgres', q{SELECT format('CLUSTER %s USING %I', i.indrelid::regclass, c.relname)
  FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid JOIN weir.segments g ON g.segment = i.indrelid
 WHERE g.blocks > 0 ORDER BY lower_offset LIMIT 4 \gexec});
like($standby->safe_psql('postgres', q{SELECT count(*) FROM weir.segments WHERE blocks > 0 AND NOT verified}),
	qr{^[4-9]|\d\d}, 'the standby knows that their order is not known');
same('heaps in the order of an index');
is($reader->query_safe("SELECT count(*) FROM stream_read('s', 0, NULL, NULL)"),
	$primary->safe_psql('postgres', "SELECT count(*) FROM s WHERE partition = 0"),
	'a connected reader reads rewritten heaps');
reader_goes_on(0, 'nothing twice');
publish($primary, 's', [ 0, 1 ], 621, 660);
same('published after the rewrites');
reader_goes_on(20, 'and on');
$primary->safe_psql('postgres', q{SELECT count(*) FROM stream_repair('s')});
same('sorted again');

# Trim.
$primary->safe_psql('postgres', q{SELECT stream_trim('s', 0, 150)});
same('after a trim');
fails_with($standby, q{SELECT * FROM stream_read('s', 0, 0)}, 'WR003', 'no longer retained on the standby');

# What a standby cannot.
fails_with($standby, q{SELECT stream_publish('s', 'no')}, '25006', 'publish on a standby');
fails_with($standby, q{SELECT * FROM stream_publish_batch('s', ARRAY['no'])}, '25006', 'publish_batch on a standby');
fails_with($standby, q{SELECT stream_create('t')}, '25006', 'stream_create on a standby');
fails_with($standby, q{SELECT * FROM stream_repair('s')}, '25006', 'stream_repair on a standby');
fails_with($standby, q{SELECT stream_trim('s', 0, 1)}, '25006', 'stream_trim on a standby');
fails_with($standby, q{SELECT stream_adopt('s')}, '25006', 'stream_adopt on a standby');
same('after what was refused');

# Reads on both while the primary works.
my $load = start_pgbench($primary, 4, [ '-T', setting('STANDBY_SECONDS', 4) ],
	'publish@5' => q{SELECT stream_publish('s', 'load', partition => (random() * 1)::int);},
	'rollback@1' => qq{BEGIN;\nSELECT stream_publish('s', 'back', partition => 0);\nROLLBACK;\n},
	'batch@1' => q{SELECT * FROM stream_publish_batch('s', array_fill('batch'::text, ARRAY[30]), partition => 0);});
my $rewrites = start_pgbench($primary, 1, [ '-T', setting('STANDBY_SECONDS', 4), '-R', 10 ],
	'full' => "SELECT segment AS t FROM weir.segments WHERE blocks > 0 ORDER BY lower_offset DESC LIMIT 1 \\gset\nVACUUM FULL :t;\n");
my ($seen, $wrong, $polls) = (0, '', 0);
while ($load->{run}->pumpable)
{
	$load->{run}->pump_nb;
	# One snapshot: no gap before the watermark, no step back.
	my ($next, $watermark, $messages, $visible) = split /\|/, $reader->query_safe(<<"SQL");
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT coalesce(max("offset") + 1, $from) AS next, stream_high_watermark('s', 0) AS watermark, count(*) AS messages
  FROM stream_read('s', 0, $from, NULL) \\gset
SELECT :next, :watermark, :messages, count(*) FROM s WHERE partition = 0 AND "offset" >= $from AND "offset" < :next;
COMMIT;
SQL
	$wrong .= "$from: $next $watermark $messages $visible\n" if $watermark < $next || $messages != $visible;
	$seen += $messages;
	$from = $next;
	$polls++;
}
stop_pgbench($load, 'load beside the standby');
stop_pgbench($rewrites, 'VACUUM FULL beside the standby');
is($wrong, '', "a reader on the standby under load ($polls polls)");
$primary->wait_for_catchup($standby, 'replay', $primary->lsn('insert'));
$seen += $reader->query_safe("SELECT count(*) FROM stream_read('s', 0, $from, NULL)");
is($seen, $primary->safe_psql('postgres', q{SELECT count(*) FROM s WHERE partition = 0 AND value IN ('load', 'batch')}),
	'it got every message once');
same('after the load');

# Promotion.
my @next = map { $primary->safe_psql('postgres', "SELECT stream_next_offset('s', $_)") } 0, 1;
my $before = contents($primary, 's');
$reader->quit;
$open->quit;
$sub->quit;
$primary->stop('fast');
$standby->promote;
is(contents($standby, 's'), $before, 'promoted: the same contents');
for my $partition (0, 1)
{
	my $offset = $standby->safe_psql('postgres', qq{SELECT "offset" FROM stream_publish('s', 'promoted', partition => $partition)});
	is($offset, $next[$partition], "promoted: offsets go on in partition $partition");
}
publish($standby, 's', [ 0, 1 ], 1, 500);
check_clean($standby, 's', 'promoted');

no_alarms($primary, $standby);
done_testing();
