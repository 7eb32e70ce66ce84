# Publishing in prepared transactions: readers wait before what is prepared,
# through a restart and a crash, until it is decided.
use strict;
use warnings FATAL => 'all';

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use WeirTest;

my $node = weir_node('prepared', conf => 'max_prepared_transactions = 10');
$node->safe_psql('postgres',
	q{SELECT stream_create('s', 2, 'text', '{"segment_messages": 20, "partitioner": "explicit"}')});

# What a reader gets of a partition, and where the stable end is.
sub state_is
{
	my ($partition, $offsets, $end, $name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	is($node->safe_psql('postgres', <<"SQL"), "$offsets|$end", $name);
SELECT string_agg("offset"::text, ' ' ORDER BY n), stream_high_watermark('s', $partition)
  FROM stream_read('s', $partition) WITH ORDINALITY m (partition, "offset", ts, key, value, headers, n)
SQL
	return;
}

sub prepare
{
	my ($gid, @partitions) = @_;
	$node->safe_psql('postgres', "BEGIN;\n"
		. join('', map { "SELECT stream_publish('s', '$gid', partition => $_);\n" } @partitions)
		. "PREPARE TRANSACTION '$gid';\n");
	return;
}

publish($node, 's', [0], 1, 3);
prepare('a', 0, 0);
publish($node, 's', [ 0, 0, 1 ], 4, 6);
state_is(0, '0 1 2', 3, 'a reader waits before a prepared transaction');
state_is(1, '0', 1, 'in its partition only');
prepare('b', 0);
state_is(0, '0 1 2', 3, 'and before the first of two');

$node->restart;
state_is(0, '0 1 2', 3, 'after a restart too');
publish($node, 's', [0], 7, 7);
$node->safe_psql('postgres', 'VACUUM ' . open_segment($node, 's', 0));
state_is(0, '0 1 2', 3, 'after VACUUM');

$node->stop('immediate');
$node->start;
state_is(0, '0 1 2', 3, 'after a crash too');
publish($node, 's', [0], 8, 8);
check_clean($node, 's', 'with prepared transactions', undecided => 1);

$node->safe_psql('postgres', q{COMMIT PREPARED 'a'});
state_is(0, '0 1 2 3 4 5 6', 7, 'COMMIT PREPARED lets readers on to the next one');
$node->safe_psql('postgres', q{ROLLBACK PREPARED 'b'});
state_is(0, '0 1 2 3 4 5 6 8 9', 10, 'ROLLBACK PREPARED lets them past');
check_clean($node, 's', 'when all is decided');

# A prepared tail that is rolled back and vacuumed: its offsets are given again.
prepare('tail', 0, 0, 0);
$node->stop('immediate');
$node->start;
is($node->safe_psql('postgres', q{SELECT stream_next_offset('s', 0)}), '13', 'the tail is there after a crash');
$node->safe_psql('postgres', q{ROLLBACK PREPARED 'tail'});
state_is(0, '0 1 2 3 4 5 6 8 9', 10, 'a prepared tail rolled back');
$node->safe_psql('postgres', 'VACUUM ' . open_segment($node, 's', 0));
publish($node, 's', [0], 9, 9);
my $after = $node->safe_psql('postgres', q{SELECT max("offset") FROM s WHERE partition = 0});
is($node->safe_psql('postgres', q{SELECT string_agg("offset"::text, ' ') FROM stream_read('s', 0, 10)}),
	$after, 'what comes after it is found from the old end');

# Prepared across segments; the segments in between came from a worker and are
# committed, so others go on.
prepare('long', (1) x 50);
state_is(1, '0', 1, 'prepared over three segments');
publish($node, 's', [1], 1, 30);
state_is(1, '0', 1, 'others go on behind them');
cmp_ok(segment_count($node, 's'), '>=', 5, 'there are segments for that');
$node->stop('immediate');
$node->start;
publish($node, 's', [1], 31, 60);
check_clean($node, 's', 'prepared over segments, after a crash', undecided => 1);
$node->safe_psql('postgres', q{ROLLBACK PREPARED 'long'});
is($node->safe_psql('postgres', q{SELECT count(*), count(DISTINCT value) FROM stream_read('s', 1, 1)}),
	'60|60', 'ROLLBACK PREPARED: what the others wrote is there');
check_clean($node, 's', 'after ROLLBACK PREPARED');

# A stream that was made in a prepared transaction, with its segments.
$node->safe_psql('postgres', <<'SQL');
BEGIN;
SELECT stream_create('t', 1, 'text', '{"segment_messages": 10}');
SELECT stream_publish('t', i::text) FROM generate_series(1, 35) i;
PREPARE TRANSACTION 'made';
SQL
fails_with($node, q{SELECT * FROM stream_read('t')}, '42P01', 'a prepared stream is not there');
$node->stop('immediate');
$node->start;
$node->safe_psql('postgres', q{COMMIT PREPARED 'made'});
is($node->safe_psql('postgres', q{SELECT count(*), max("offset") FROM stream_read('t')}), '35|34', 'COMMIT PREPARED brings it');
publish($node, 't', [0], 36, 60);
is($node->safe_psql('postgres', q{SELECT count(*), max("offset") FROM stream_read('t')}), '60|59', 'and it works');
check_clean($node, 't', 'of a stream from a prepared transaction');

# Without a worker the publisher makes the segment itself, in the transaction
# that is then prepared.
$node->append_conf('postgresql.conf', 'max_worker_processes = 0');
$node->restart;
publish($node, 's', [0], 1, 20);
prepare('inline', (0) x 25);
my $end = $node->safe_psql('postgres', q{SELECT stream_high_watermark('s', 0)});
$node->stop('immediate');
$node->start;
is($node->safe_psql('postgres', q{SELECT stream_high_watermark('s', 0)}), $end, 'a segment of a prepared transaction, after a crash');
$node->safe_psql('postgres', q{COMMIT PREPARED 'inline'});
publish($node, 's', [0], 21, 60);
check_clean($node, 's', 'after a segment made in a prepared transaction');
prepare('inline2', (0) x 25);
$node->safe_psql('postgres', q{ROLLBACK PREPARED 'inline2'});
publish($node, 's', [0], 61, 90);
check_clean($node, 's', 'after one that was rolled back');
is($node->safe_psql('postgres', q{SELECT count(*) FROM s WHERE partition = 0 AND value ~ '^\d'}),
	'98', 'nothing is missing');

no_alarms($node);
done_testing();
