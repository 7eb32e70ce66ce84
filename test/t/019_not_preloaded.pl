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
check_clean($node, 'a', 'without workers');
no_alarms($node);
done_testing();
