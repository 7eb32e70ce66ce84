# Pausing without shared_preload_libraries: sessions do the DDL themselves,
# where nobody is in the way, and are told once what is missing.
use strict;
use warnings FATAL => 'all';

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use WeirTest;

my $node = weir_node('alone');

sub ask { return $node->safe_psql('postgres', $_[0]); }

sub states
{
	return ask(q{SELECT string_agg(partition || ':' || state || '/' || actual, ' ' ORDER BY partition)
	               FROM weir.partitions WHERE stream = 'a'::regclass});
}

ask(q{SELECT stream_create('a', 2, 'text', '{"partitioner": "explicit"}')});
publish($node, 'a', [ 0, 1 ], 1, 20);

# One warning for a session, however often it pauses and resumes.
{
	my ($status, $out, $err) = $node->psql('postgres', q{SELECT * FROM stream_pause('a');
		SELECT * FROM stream_pause('a', '{0}', true); SELECT * FROM stream_resume('a'); CALL stream_pause_all();});
	is($status, 0, 'pause, resume and pause_all');
	my $warnings = () = $err =~ m{WARNING:  weir is not preloaded}g;
	is($warnings, 1, 'one warning');
	like($err, qr{HINT:  Add "weir" to shared_preload_libraries}, 'which says what to do');
	is(states(), '0:paused/detached 1:paused/detached', 'detached by the session');
}

# A publish resumes; the table follows with the next change of its state.
ask(q{SELECT stream_publish('a', 'wakes', partition => 0)});
is(states(), '0:active/detached 1:paused/detached', 'resumed by a publish');
is(ask(q{SELECT count(*) FROM stream_read('a', 0)}), '11', 'and readable');
ask(q{SELECT * FROM stream_resume('a', '{0}')});
is(states(), '0:active/attached 1:paused/detached', 'attached by the next resume');
is(ask(q{SELECT count(*) FROM weir.resume_request}), '0', 'the request is swept');

# Somebody is in the way: nobody waits, the state is right, the table follows later.
{
	my $reader = $node->background_psql('postgres');
	$reader->query_safe('BEGIN; SELECT count(*) FROM a;');
	is(ask(q{SET statement_timeout = '10s'; SELECT * FROM stream_pause('a', '{0}')}), '0|paused|t', 'pause beside a reader');
	is(states(), '0:paused/attached 1:paused/detached', 'paused, not detached');
	is(ask(q{SET statement_timeout = '10s'; SELECT stream_publish('a', 'beside', partition => 1)}), '(1,10)', 'others go on');
	$reader->query_safe('COMMIT;');
	$reader->quit;
	ask(q{SELECT * FROM stream_pause('a', detach => false)});
	ask(q{SELECT * FROM stream_pause('a')});
	is(states(), '0:paused/detached 1:paused/detached', 'the next pause makes up for it');
}

# An open transaction that has paused keeps nobody but its partition's publishers.
{
	my $pauser = $node->background_psql('postgres');
	ask(q{SELECT * FROM stream_resume('a', wait => true)});
	my $reader = $node->background_psql('postgres');
	$reader->query_safe('BEGIN; SELECT count(*) FROM a_p1;');
	$pauser->query_safe(q{SET client_min_messages = error; BEGIN; SELECT * FROM stream_pause('a', '{1}');});
	is(ask(q{SET statement_timeout = '10s'; SELECT stream_publish('a', 'other', partition => 0)}), '(0,11)', 'publish to another partition');
	is(ask(q{SET statement_timeout = '10s'; SELECT count(*) > 0 FROM a}), 't', 'read the stream');
	$pauser->query_safe('ROLLBACK;');
	$reader->query_safe('ROLLBACK;');
	$_->quit for $pauser, $reader;
	is(states(), '0:active/attached 1:active/attached', 'rolled back is nothing happened');
}

is(ask(q{SELECT count(*) FROM weir.workers}), '0', 'no workers to see');
# No notifier: the publisher notifies, unless told not to; whoever waits polls.
{
	my $listener = $node->background_psql('postgres');
	my $channel = $listener->query_safe(q{SELECT stream_subscribe('a')});
	ask(q{SELECT * FROM stream_resume('a', wait => true); SELECT stream_publish('a', v, partition => 1) FROM unnest('{x,y}'::text[]) v});
	my $got = sub { return join ' ', $listener->query_safe('SELECT') =~ m{notification "$channel" with payload "(.*?)" received}g };
	is($got->(), '{"partition": 1}', 'one notification for each transaction and partition');
	ask(q{BEGIN; SELECT stream_publish('a', 'z', partition => 1) FROM generate_series(1, 3); SELECT stream_publish('a', 'z', partition => 0); COMMIT});
	is($got->(), '{"partition": 1} {"partition": 0}', 'also when it publishes more');
	ask(q{BEGIN; SELECT stream_publish('a', 'z', partition => 1); ROLLBACK});
	ask(q{SET weir.notify_from_publisher = off; SELECT stream_publish('a', 'z', partition => 1)});
	is($got->(), '', 'none of what is rolled back, none where it is off');
	$listener->quit;

	my $read = psql_job($node, q{SELECT value FROM stream_read('a', 0, start => 'latest', wait => '30 s');});
	my $call = psql_job($node, q{CALL stream_wait('a', '30 s', partition => 0);});
	wait_until($node, q{SELECT count(*) = 2 FROM pg_stat_activity WHERE wait_event_type = 'Extension'}, 'two wait');
	ask(q{SELECT stream_publish('a', 'polled', partition => 0)});
	finish_job($_) for $read, $call;
	is($read->{out}, "polled\n", 'stream_read got it');
	is($call->{out}, "t\n", 'stream_wait too');
}

check_clean($node, 'a', 'without workers');
no_alarms($node);
done_testing();
