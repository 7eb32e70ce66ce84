# Crashes and errors at every step of pausing, detaching, attaching, resuming
# and auto-pausing: afterwards all is where it belongs, without anybody's help.
use strict;
use warnings FATAL => 'all';

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use WeirPause;
use WeirTest;

my $node = pause_node('crash', conf => 'restart_after_crash = on');
plan skip_all => 'needs a build with debug points' if !has_points($node);
my $active = '0:active/attached 1:active/attached';
my $paused = '0:active/attached 1:paused/detached';
my $acknowledged = 0;
my $unknown = 0;
my $reader;
my $dump;

sub ask { return $node->safe_psql('postgres', $_[0]); }

sub send_messages
{
	publish($node, 'c', [ 0, 1 ], 1, 4);
	$acknowledged += 4;
	return;
}

sub all_there
{
	my ($name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my $total = total($node, 'c');
	ok($total >= $acknowledged && $total <= $acknowledged + $unknown, "$name: all messages")
	  or diag "$total, not $acknowledged to " . ($acknowledged + $unknown);
	($acknowledged, $unknown) = ($total, 0);
	return;
}

sub up_again
{
	my ($name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	return wait_until($node, 'SELECT NOT pg_is_in_recovery()', "$name: the server is there");
}

# ---- what is under way when it happens ----

sub pause { return $node->psql('postgres', q{SELECT * FROM stream_pause('c', '{1}')}); }

sub paused
{
	pause();
	return becomes($node, 'c', $paused, 'paused before');
}

sub detaching
{
	my ($name) = @_;
	$reader = $node->background_psql('postgres', on_error_stop => 0);
	$reader->query_safe('BEGIN; SELECT count(*) FROM c;');
	pause();
	return becomes($node, 'c', '0:active/attached 1:paused/detaching', 'detaching before');
}

sub reader_ends
{
	eval { $reader->query('COMMIT;'); $reader->quit; };
	undef $reader;
	return;
}

sub wake
{
	my ($code) = $node->psql('postgres', q{SELECT stream_publish('c', 'wake', partition => 1)});
	# It may have been committed all the same.
	$code == 0 ? $acknowledged++ : $unknown++;
	return;
}

# In the session itself.
sub pause_at
{
	my ($point, $action) = @_;
	return $node->psql('postgres', "SET weir.debug_points = '$point=$action'; SELECT * FROM stream_pause('c', '{1}')");
}

sub wake_at
{
	my ($point, $action) = @_;
	return $node->psql('postgres', "SET weir.debug_points = '$point=$action'; SELECT stream_publish('c', 'never', partition => 1)");
}

sub auto
{
	return ask(q{SELECT stream_alter('c', '{"auto_pause_after": "1 second", "auto_pause_detach": true}')});
}

# point, before, what leads there, the state afterwards
my @cases = (
	[ 'detach_begin', undef, \&pause, $paused ],
	[ 'detach_done', undef, \&pause, $paused ],
	[ 'finalize_begin', \&detaching, \&reader_ends, $paused ],
	[ 'detach_finalized', \&detaching, \&reader_ends, $paused ],
	[ 'attach_begin', \&paused, \&wake, $active ],
	[ 'attached', \&paused, \&wake, $active ],
	[ 'requests_followed', \&paused, \&wake, $active ],
	[ 'idle_before_lock', undef, \&auto, '0:paused/detached 1:paused/detached' ],
	[ 'idle_paused', undef, \&auto, '0:paused/detached 1:paused/detached' ]);

ask(q{SELECT stream_create('c', 2, 'text', '{"partitioner": "explicit", "segment_messages": 50}')});
send_messages();

# ---- the keeper dies or fails ----

for my $case (@cases)
{
	my ($point, $before, $lead, $state) = @$case;
	for my $action ('error', 'crash')
	{
		my $name = "$action at $point";
		my $log = -s $node->logfile;
		$before->() if $before;
		set_points($node, "$point=$action");
		$lead->();
		$node->wait_for_log($action eq 'error' ? qr{debug point "$point"} : qr{terminated by signal 9}, $log);
		set_points($node, '');
		up_again($name);
		reader_ends() if $reader;
		# After an error it tries to pause again in a minute, or when woken.
		auto() if $lead == \&auto && $action eq 'error';
		# What is active is published to at once, whatever the table does.
		publish($node, 'c', [0], 1, 2) if $state !~ m{0:paused};
		$acknowledged += 2 if $state !~ m{0:paused};
		becomes($node, 'c', $state, "$name: goes on by itself");
		settles($node, "$name: settled");
		all_there($name);
		is(ask(q{SELECT * FROM stream_check('c')}), '', "$name: stream_check");
		log_is_sane($node, 'c', $name);

		ask(q{SELECT stream_alter('c', '{"auto_pause_after": null, "auto_pause_detach": null}'); SELECT * FROM stream_resume('c')});
		send_messages();
		becomes($node, 'c', $active, "$name: and back");
	}
}
check_clean($node, 'c', 'after the keeper');

# ---- the session that pauses or publishes dies or fails ----

for my $case ([ 'pause_drained', undef, \&pause_at, $active ], [ 'pause_done', undef, \&pause_at, $active ],
	[ 'publish_locked', \&paused, \&wake_at, $paused ], [ 'append_before_lock', \&paused, \&wake_at, $paused ],
	[ 'append_after_lock', \&paused, \&wake_at, $paused ])
{
	my ($point, $before, $lead, $state) = @$case;
	for my $action ('error', 'crash')
	{
		my $name = "$action at $point";
		$before->() if $before;
		my ($code) = $lead->($point, $action);
		is($code, $action eq 'error' ? 3 : 2, "$name: it happened");
		up_again($name);
		is(states($node, 'c'), $state, "$name: nothing has changed");
		settles($node, "$name: settled");
		all_there($name);
		is(ask(q{SELECT * FROM stream_check('c')}), '', "$name: stream_check");
		ask(q{SELECT * FROM stream_resume('c')});
		send_messages();
		becomes($node, 'c', $active, "$name: and back");
	}
}
check_clean($node, 'c', 'after sessions');

# ---- kill -9 and immediate stops, beside a dump that stands still ----

publish($node, 'c', [ 0, 1 ], 1, 200, pad => 4000);
$acknowledged += 200;
for my $end ('kill -9', 'immediate stop')
{
	for my $wanted ('paused', 'active')
	{
		my $name = "$end, $wanted, beside pg_dump";
		my $keeper = keeper_pid($node);
		$dump = start_job('pg_dump', '-t', 'c', '-t', 'c_*', $node->connstr('postgres'));
		wait_until($node, q{SELECT count(*) > 0 FROM pg_stat_activity WHERE query ~ '^COPY'}, "$name: pg_dump stands still");
		pause();
		becomes($node, 'c', '0:active/attached 1:paused/detaching', "$name: detaching");
		wake() if $wanted eq 'active';
		if ($end eq 'kill -9')
		{
			my $log = -s $node->logfile;
			kill 'KILL', $keeper;
			$node->wait_for_log(qr{terminated by signal 9}, $log);
		}
		else
		{
			$node->stop('immediate');
			$node->start;
		}
		up_again($name);
		finish_job($dump);
		becomes($node, 'c', $wanted eq 'active' ? $active : $paused, "$name: goes on by itself");
		settles($node, "$name: settled");
		all_there($name);
		is(ask(q{SELECT * FROM stream_check('c')}), '', "$name: stream_check");
		ask(q{SELECT * FROM stream_resume('c')});
		becomes($node, 'c', $active, "$name: and back");
	}
}
send_messages();
check_clean($node, 'c', 'in the end');
log_is_sane($node, 'c', 'in the end');

$node->stop;
ended_well($node, crashes => 1);
done_testing();
