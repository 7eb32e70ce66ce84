# Subscriptions: notified of what is readable, of all of it, and of little more;
# waiting reads that are woken; who may know.
use strict;
use warnings FATAL => 'all';

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time);
use WeirTest;

my $node = weir_node('subscribe', init => [ allows_streaming => 1 ], conf => "shared_preload_libraries = 'weir'\nmax_prepared_transactions = 5\nmax_worker_processes = 20");

sub ask { return $node->safe_psql('postgres', $_[0]); }

# A statement in another session, sent at once.
sub job { return psql_job($_[0], "$_[1];"); }

sub session { return $node->background_psql('postgres', on_error_stop => 0); }

# Subscribes; the first notification may come with the answer.
my %early;

sub subscribe
{
	my ($session, $stream) = @_;
	my ($channel, $rest) = split /\n/, $session->query_safe("SELECT stream_subscribe('$stream')"), 2;
	$early{$session} .= $rest // '';
	return $channel;
}

# The payloads that a session has got since last asked, for one stream.
sub heard
{
	my ($session, $channel) = @_;
	my $out = (delete $early{$session} // '') . $session->query_safe('SELECT');
	return [ $out =~ m{notification "$channel" with payload "(.*?)" received}g ];
}

# Asks until a payload comes.
sub hears
{
	my ($session, $channel, $payload, $name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my $deadline = time + 60;
	my @got;
	until (grep { $_ eq $payload } @got)
	{
		push @got, @{ heard($session, $channel) };
		last if time > $deadline;
	}
	ok(scalar(grep { $_ eq $payload } @got), $name) or diag "got @got";
	return \@got;
}

sub payload { return sprintf '{"partition": %d, "end": %d}', @_; }

ask(q{SELECT stream_create('s', 2, 'text', '{"partitioner": "explicit"}')});
ask(q{SELECT stream_create('other', 1, 'text')});
my $channel = ask(q{SELECT stream_channel('s')});
like($channel, qr{^weir_\d+_[0-9a-f]{32}$}, 'the name of a channel');
is(ask(q{SELECT stream_channel('s')}), $channel, 'is the same each time');

# ---- notified ----

my $session = session();
is(subscribe($session, 's'), $channel, 'subscribe');
is($session->query_safe(q{SELECT * FROM pg_listening_channels()}), $channel, 'it listens');
wait_until($node, q{SELECT count(*) = 1 FROM weir.workers WHERE kind = 'notifier' AND doing = 'following 1 streams'},
	'a notifier follows the stream');
ask(q{SELECT stream_publish('s', 'a', partition => 1)});
hears($session, $channel, payload(1, 1), 'a message');
ask(q{SELECT stream_publish('other', 'a')});
ask(q{SELECT stream_publish('s', 'b', partition => 0)});
is_deeply([ grep { !m{"partition": 0, "end": 1} } @{ hears($session, $channel, payload(0, 1), 'another') } ],
	[], 'nothing but that');

# Whatever has been notified of is readable: at no time is the end of a payload
# beyond the stable end as seen after it.
{
	my $job = start_pgbench($node, 4, [ '-t', 300 ], one => <<'SQL');
\set p random(0, 1)
SELECT stream_publish('s', 'x', partition => :p);
SQL
	my ($bad, $n) = (0, 0);
	while ($job->{run}->pumpable && $n < 200)
	{
		$job->{run}->pump_nb;
		for my $p (@{ heard($session, $channel) })
		{
			my ($partition, $end) = $p =~ m{"partition": (\d+), "end": (\d+)};
			$bad++ if $session->query_safe("SELECT stream_high_watermark('s', $partition) < $end") =~ m{^t}m;
			$n++;
		}
	}
	stop_pgbench($job, 'publishers');
	is($bad, 0, "each of $n payloads names a readable end");
	cmp_ok($n, '>', 0, 'there were payloads');
	for my $p (0, 1)
	{
		my $end = ask("SELECT stream_high_watermark('s', $p)");
		ask("SELECT stream_publish('s', 'last', partition => $p)");
		hears($session, $channel, payload($p, $end + 1), "the last of partition $p");
	}
}

# Coalesced: the first at once, then one for each interval.
{
	ask(q{ALTER SYSTEM SET weir.notify_interval = '300ms'});
	ask(q{SELECT pg_reload_conf()});
	wait_until($node, q{SELECT setting = '300' FROM pg_settings WHERE name = 'weir.notify_interval'}, 'a long interval');
	my $before = ask(q{SELECT stream_high_watermark('s', 0)});
	my $begin = time;
	stop_pgbench(start_pgbench($node, 1, [ '-t', 400 ], one => q{SELECT stream_publish('s', 'x', partition => 0)}), '400 publishes');
	my $took = time - $begin;
	my $got = hears($session, $channel, payload(0, $before + 400), 'the last one');
	my $most = int($took / 0.3) + 4;
	cmp_ok(scalar @$got, '<=', $most, @$got . " notifications in $took s, at most $most");
	ask(q{ALTER SYSTEM RESET weir.notify_interval});
	ask(q{SELECT pg_reload_conf()});
}

# ---- held up ----

sub watermark { return ask("SELECT stream_high_watermark('s', $_[0])"); }

for my $end ('COMMIT', 'ROLLBACK', 'ROLLBACK TO a')
{
	my $other = session();
	my $before = watermark(0);
	$other->query_safe(q{BEGIN; SAVEPOINT a; SELECT stream_publish('s', 'held', partition => 0)});
	ask(q{SELECT stream_publish('s', 'behind it', partition => 0)});
	ask(q{SELECT stream_publish('s', 'beside it', partition => 1)});
	my $got = hears($session, $channel, payload(1, watermark(1)), "$end: the other partition is not held up");
	is_deeply([ grep { m{"partition": 0} } @$got ], [], "$end: nothing of the one that is");
	$other->query_safe($end);
	hears($session, $channel, payload(0, $before + 2), "$end makes the message behind it readable");
	$other->query_safe('ROLLBACK') if $end eq 'ROLLBACK TO a';
	$other->quit;
}
for my $end ('COMMIT', 'ROLLBACK')
{
	my $before = watermark(0);
	ask(q{BEGIN; SELECT stream_publish('s', 'prepared', partition => 0); PREPARE TRANSACTION 'p'});
	ask(q{SELECT stream_publish('s', 'behind it', partition => 0)});
	ask(q{SELECT stream_publish('s', 'beside it', partition => 1)});
	hears($session, $channel, payload(1, watermark(1)), "$end PREPARED: beside it");
	ask("$end PREPARED 'p'");
	hears($session, $channel, payload(0, $before + 2), "$end PREPARED makes the message behind it readable");
}

# ---- a notifier that dies, or cannot ----

my $pid_of = q{SELECT pid FROM weir.workers WHERE kind = 'notifier' AND pid > 0};
{
	my $pid = ask($pid_of);
	my $end = watermark(0);
	ask("SELECT pg_terminate_backend($pid, 10000)");
	ask(q{SELECT stream_publish('s', 'nobody notifies', partition => 0)});
	hears($session, $channel, payload(0, $end + 1), 'the next notifier catches up');
	isnt(ask($pid_of), $pid, 'it is another one');
}

# Somebody holds one stream: others are notified of, and it later.
{
	my $o = session();
	my $other_channel = subscribe($o, 'other');
	hears($o, $other_channel, payload(0, 1), 'a first subscription is told of what is there');
	my $holder = session();
	my $end = watermark(0);
	ask(q{SELECT stream_publish('s', 'seen late', partition => 0)});
	heard($session, $channel);
	$holder->query_safe('BEGIN; LOCK TABLE s IN ACCESS EXCLUSIVE MODE');
	my $job = job($node, q{SELECT stream_publish('s', 'waits', partition => 0)});
	ask(q{SELECT stream_publish('other', 'b')});
	hears($o, $other_channel, payload(0, 2), 'a locked stream holds up no other one');
	$holder->query_safe('COMMIT');
	finish_job($job, 'the publisher went on');
	hears($session, $channel, payload(0, $end + 2), 'and is notified of when it is free');
	$holder->quit;
	$o->quit;
}
wait_until($node, q{SELECT doing = 'following 1 streams' FROM weir.workers WHERE kind = 'notifier'},
	'a session that ends does not listen any more');

# ---- LISTEN by hand, savepoints, UNLISTEN ----
{
	my $plain = session();
	$plain->query_safe("LISTEN $channel");
	$plain->query_safe("BEGIN; SAVEPOINT a; UNLISTEN *; ROLLBACK TO a; COMMIT");
	$session->query_safe(q{SELECT stream_unsubscribe('s')});
	ask(q{SELECT stream_publish('s', 'x', partition => 0)});
	hears($plain, $channel, payload(0, watermark(0)), 'LISTEN does, and an UNLISTEN that was taken back does not');
	$plain->query_safe('DISCARD ALL');
	wait_until($node, q{SELECT doing = 'following 0 streams' FROM weir.workers WHERE kind = 'notifier'}, 'DISCARD ALL ends it');
	$plain->query_safe("BEGIN; LISTEN $channel; ROLLBACK");
	ask(q{SELECT stream_publish('s', 'y', partition => 0)});
	is_deeply(heard($plain, $channel), [], 'nothing after that');
	is_deeply(heard($session, $channel), [], 'nothing after stream_unsubscribe');
	$plain->query_safe("LISTEN $channel");
	$plain->query_safe(q{SELECT stream_subscribe('s')});
	$plain->query_safe("UNLISTEN $channel");
	wait_until($node, q{SELECT doing = 'following 0 streams' FROM weir.workers WHERE kind = 'notifier'}, 'twice listened is once');
	$plain->quit;
}

# ---- the activity log is a stream like any other ----
{
	my $log = session();
	my $its = subscribe($log, 'weir.activity');
	ask(q{SELECT * FROM stream_pause('s', '{1}', detach => false)});
	hears($log, $its, payload(0, ask(q{SELECT stream_high_watermark('weir.activity', 0)})), 'told of a pause');
	ask(q{SELECT * FROM stream_resume('s', '{1}')});
	$log->quit;
}

# ---- who may know ----
{
	ask(q{CREATE ROLE nobody; CREATE ROLE reader; GRANT SELECT ON s TO reader});
	fails_with($node, q{SET ROLE nobody; SELECT stream_channel('s')}, '42501', 'no SELECT: no channel');
	fails_with($node, q{SET ROLE nobody; SELECT stream_subscribe('s')}, '42501', 'no SELECT: no subscription');
	fails_with($node, q{SET ROLE nobody; SELECT * FROM weir.secret}, '42501', 'the key is secret');
	fails_with($node, q{SET ROLE reader; SELECT * FROM weir.secret}, '42501', 'to readers too');
	is(ask(q{SET ROLE reader; SELECT stream_channel('s')}), $channel, 'SELECT is enough');
	ask('CREATE DATABASE second');
	$node->safe_psql('second', q{CREATE EXTENSION weir; SELECT stream_create('s')});
	my $dump = $node->basedir . '/s.dump';
	$node->command_ok([ 'pg_dump', '-Fc', '-f', $dump, $node->connstr('postgres') ], 'dump');
	$node->safe_psql('postgres', 'CREATE DATABASE third');
	$node->command_ok([ 'pg_restore', '-d', $node->connstr('third'), $dump ], 'restore');
	my ($hash) = $channel =~ m{_([0-9a-f]+)$};
	unlike($node->safe_psql('third', q{SELECT stream_channel('s')}), qr{$hash}, 'a restored one has its own');
}

# ---- what needs the database for itself ----
{
	my $listener = $node->background_psql('second');
	$listener->query_safe(q{SELECT stream_subscribe('s')});
	wait_until($node, q{SELECT count(*) = 1 FROM weir.workers WHERE kind = 'notifier' AND database = 'second' AND pid > 0},
		'a notifier of another database');
	$listener->quit;
	is(ask('DROP DATABASE second'), '', 'DROP DATABASE is not in its way');
	wait_until($node, q{SELECT count(*) = 0 FROM weir.workers WHERE database = 'second'}, 'no worker is left');
	my $third = $node->background_psql('third');
	$third->query_safe(q{SELECT stream_subscribe('s')});
	wait_until($node, q{SELECT count(*) = 1 FROM weir.workers WHERE kind = 'notifier' AND database = 'third' AND pid > 0}, 'a third one');
	$node->safe_psql('third', 'DROP EXTENSION weir CASCADE');
	wait_until($node, q{SELECT count(*) = 0 FROM weir.workers WHERE database = 'third'}, 'DROP EXTENSION ends it');
	$third->quit;
}

# ---- waiting reads ----

# Each waits for the next message, which comes when it waits: woken, and not by
# the end of a rest of 1 s.
{
	my @took;
	my $waiting = q{SELECT count(*) = 1 FROM pg_stat_activity WHERE wait_event_type = 'Extension' AND backend_type = 'client backend'};
	for my $round (1 .. 12)
	{
		my $sql = $round % 3 == 0
		  ? q{SELECT 1 FROM stream_read('s', 0, start => 'latest', wait => '30 s')}
		  : $round % 3 == 1 ? q{SELECT 1 FROM stream_fetch('s', 'waiter', wait => '30 s')}
		  : q{CALL stream_wait('s', '30 s')};
		ask(q{SELECT * FROM stream_seek('s', 'waiter', start => 'latest')});
		my $job = job($node, $sql);
		$node->poll_query_until('postgres', $waiting) or die 'nobody waits';
		my $begin = time;
		ask(q{SELECT stream_publish('s', 'wake up', partition => 0)});
		finish_job($job);
		like($job->{out}, qr{^(1|t)$}m, "round $round: got it");
		push @took, time - $begin;
	}
	@took = sort { $a <=> $b } @took;
	cmp_ok($took[5], '<', 0.4, "woken at once: median $took[5] s");
}

# While it waits it holds nothing of ours; stream_wait not even a snapshot.
{
	ask(q{SELECT * FROM stream_seek('s', 'waiter', start => 'latest')});
	my $fetch = job($node, q{SELECT 1 FROM stream_fetch('s', 'waiter', wait => '30 s')});
	my $read = job($node, q{SELECT 1 FROM stream_read('s', 1, start => 'latest', wait => '30 s')});
	my $call = job($node, q{CALL stream_wait('s', '30 s', 'waiter')});
	wait_until($node, q{SELECT count(*) = 3 FROM pg_stat_activity WHERE wait_event_type = 'Extension' AND backend_type = 'client backend'}, 'three wait');
	is(ask(q{SELECT count(*) FROM pg_locks l JOIN pg_stat_activity a USING (pid)
		WHERE a.wait_event_type = 'Extension' AND a.backend_type = 'client backend' AND l.locktype <> 'virtualxid'}), '0', 'no locks');
	is(ask(q{SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Extension' AND query LIKE 'CALL%' AND (backend_xmin IS NOT NULL OR backend_xid IS NOT NULL)}), '0', 'stream_wait holds no snapshot');
	is(ask(q{SET lock_timeout = '1s'; BEGIN; LOCK TABLE s, s_p0, s_p1 IN ACCESS EXCLUSIVE MODE; COMMIT; SELECT 1}), '1', 'everything can be locked');
	ask(q{SET lock_timeout = '1s'; SELECT * FROM stream_pause('s')});
	wait_until($node, q{SELECT count(*) = 2 FROM weir.partitions WHERE stream = 's'::regclass AND actual = 'detached'}, 'and detached');
	ask(q{SELECT stream_publish('s', 'both', partition => p) FROM generate_series(0, 1) p});
	finish_job($_) for $fetch, $read, $call;
	like($_->{out}, qr{^(1|t)$}m, 'woken by a publish that resumes') for $fetch, $read, $call;
}

# Interrupted, by a cancel and by the end of the session.
{
	for my $how ('cancel', 'terminate')
	{
		ask(q{SELECT * FROM stream_seek('s', 'waiter', start => 'latest')});
		my $job = job($node, q{SELECT 1 FROM stream_fetch('s', 'waiter', partition => 1, wait => '50 s')});
		wait_until($node, q{SELECT count(*) = 1 FROM pg_stat_activity WHERE wait_event_type = 'Extension' AND backend_type = 'client backend'}, "$how: it waits");
		ask("SELECT pg_${how}_backend(pid) FROM pg_stat_activity WHERE wait_event_type = 'Extension' AND backend_type = 'client backend'");
		finish_job($job);
		like($job->{err}, qr{canceling statement|terminating connection}, "$how ends it");
	}
	is(ask(q{SELECT stream_publish('s', 'after', partition => 1)}) ne '', 1, 'and nobody minds');
}

# A stream that goes while somebody waits for it.
{
	my $job = job($node, q{SELECT 1 FROM stream_fetch('other', 'waiter', 1, wait => '0'); SELECT * FROM stream_seek('other', 'waiter', start => 'latest'); SELECT 1 FROM stream_fetch('other', 'waiter', wait => '50 s')});
	wait_until($node, q{SELECT count(*) = 1 FROM pg_stat_activity WHERE wait_event_type = 'Extension' AND backend_type = 'client backend'}, 'somebody waits');
	ask('DROP TABLE other');
	finish_job($job);
	like($job->{err}, qr{stream "other" was dropped while it was waited for}, 'a clear error');
}

# What another consumer gives back or leaves is worth to be woken for.
for my $end ('ROLLBACK', 'COMMIT')
{
	ask(q{SELECT * FROM stream_seek('s', 'pair', start => 'latest'); SELECT stream_publish('s', i::text, partition => 0) FROM generate_series(1, 2) i});
	my $first = session();
	is($first->query_safe(q{BEGIN; SELECT value FROM stream_fetch('s', 'pair', 1)}), '1', "$end: one has the first");
	my $job = job($node, q{SELECT value FROM stream_fetch('s', 'pair', 1, wait => '50 s')});
	wait_until($node, q{SELECT count(*) = 1 FROM pg_stat_activity WHERE wait_event_type = 'Extension' AND backend_type = 'client backend'}, "$end: another waits");
	$first->query_safe($end);
	finish_job($job);
	is($job->{out}, ($end eq 'COMMIT' ? 2 : 1) . "\n", "$end: and gets the right one");
	$first->quit;
}

# Waiting for what is undecided, or behind what was rolled back, is rest: no
# look wakes the next one, and none costs a transaction id.
ask(q{SELECT stream_create('calm', 1, 'text'); SELECT * FROM stream_seek('calm', 'g', start => 'latest')});
ask(q{CREATE TABLE before (idx_scan bigint, xid bigint)});
for my $what ('undecided', 'rolled back')
{
	my $scans = q{(SELECT idx_scan FROM pg_stat_all_indexes WHERE indexrelname = 'position_idx')};
	my $xid = 'pg_current_xact_id()::text::bigint';
	my $first = session();
	$first->query_safe(q{BEGIN; SELECT stream_publish('calm', 'never')}) if $what eq 'undecided';
	ask("DELETE FROM before; INSERT INTO before VALUES ($scans, $xid)");
	my @jobs = map { job($node, $_) } (q{SELECT 1 FROM stream_fetch('calm', 'g', wait => '3 s')}) x 2,
	  q{SELECT 1 FROM stream_fetch('calm', 'new', wait => '3 s')}, q{CALL stream_wait('calm', '3 s', 'g')};
	finish_job($_, "$what: waits") for @jobs;
	is(join(' ', map { $_->{out} =~ s{\n}{}r } @jobs), '   f', "$what: for nothing");
	wait_until($node, "SELECT $scans > idx_scan FROM before", "$what: it is counted");
	cmp_ok(ask("SELECT $scans - idx_scan FROM before"), '<', 200, "$what: few looks");
	cmp_ok(ask("SELECT $xid - xid FROM before"), '<', 20, "$what: few transaction ids");
	$first->query_safe('ROLLBACK') if $what eq 'undecided';
	$first->quit;
}

# A member who leaves, or gives up, leaves what others wait to fetch.
{
	my @took;
	for my $round (1 .. 6)
	{
		ask(q{SELECT * FROM stream_seek('s', 'left', start => 'latest')});
		ask(q{SELECT * FROM stream_join('s', 'left', 'one', '1 hour')});
		ask(q{SELECT stream_publish('s', 'for one', partition => 0)});
		my $job = job($node, q{SELECT value FROM stream_fetch('s', 'left', wait => '30 s')});
		$node->poll_query_until('postgres', q{SELECT count(*) = 1 FROM pg_stat_activity WHERE wait_event_type = 'Extension' AND backend_type = 'client backend'})
		  or die 'nobody waits';
		my $begin = time;
		ask(q{SELECT stream_leave('s', 'left', 'one')});
		finish_job($job);
		is($job->{out}, "for one\n", "round $round: what a member left");
		push @took, time - $begin;
	}
	@took = sort { $a <=> $b } @took;
	cmp_ok($took[2], '<', 0.4, "woken at once: median $took[2] s");
}

# ---- a standby polls ----
{
	$node->backup('base');
	my $standby = PostgreSQL::Test::Cluster->new('standby');
	$standby->init_from_backup($node, 'base', has_streaming => 1);
	$standby->start;
	$node->wait_for_catchup($standby);
	my $job = job($standby, q{SELECT value FROM stream_read('s', 0, start => 'latest', wait => '30 s')});
	wait_until($standby, q{SELECT count(*) = 1 FROM pg_stat_activity WHERE wait_event_type = 'Extension' AND backend_type = 'client backend'}, 'a reader waits on the standby');
	my $call = job($standby, q{CALL stream_wait('s', '30 s', partition => 0)});
	wait_until($standby, q{SELECT count(*) = 2 FROM pg_stat_activity WHERE wait_event_type = 'Extension' AND backend_type = 'client backend'}, 'and stream_wait');
	ask(q{SELECT stream_publish('s', 'far away', partition => 0)});
	finish_job($_) for $job, $call;
	is($job->{out}, "far away\n", 'and gets it');
	is($call->{out}, "t\n", 'stream_wait too');
	fails_with($standby, q{SELECT stream_subscribe('s')}, '25006', 'no subscription on a standby');
	$standby->stop;
}

$session->quit;
check_clean($node, 's', 'at the end');
no_alarms($node);
done_testing();
