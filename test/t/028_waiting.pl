# Waiting and notifying beside what gets in their way: they do not spin, one
# locked stream holds up no other, and nobody without rights stops anything.
use strict;
use warnings FATAL => 'all';

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time);
use WeirTest;

my $node = weir_node('waiting', conf => "shared_preload_libraries = 'weir'\nmax_worker_processes = 20");

sub ask { return $node->safe_psql('postgres', $_[0]); }

sub session { return $node->background_psql('postgres', on_error_stop => 0); }

sub subscribe
{
	my ($session, $stream) = @_;
	return (split /\n/, $session->query_safe("SELECT stream_subscribe('$stream')"))[0];
}

# Until a notification of the channel comes.
sub hears
{
	my ($session, $channel, $name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my $deadline = time + 60;
	my $heard = 0;
	$heard = $session->query_safe('SELECT') =~ m{notification "$channel"} until $heard || time > $deadline;
	return ok($heard, $name);
}

my $is_waiting = q{wait_event_type = 'Extension' AND backend_type = 'client backend'};

sub waiting
{
	return wait_until($node, "SELECT count(*) = $_[0] FROM pg_stat_activity WHERE $is_waiting", $_[1]);
}

# Hundredths of a second of CPU that all sessions which wait have used.
sub cpu
{
	my $sum = 0;
	for my $pid (split /\n/, ask("SELECT pid FROM pg_stat_activity WHERE $is_waiting"))
	{
		my @fields = split ' ', slurp_file("/proc/$pid/stat") =~ s/^.*\) //sr;
		$sum += $fields[11] + $fields[12];
	}
	return $sum;
}

ask(qq{SELECT stream_create('$_', 1, 'text')}) for qw(s t u);

# ---- waiting costs nothing ----

# A subtransaction is rolled back at each look: that must not wake whoever has
# looked, nor another who looks just as he does.
SKIP:
{
	skip 'needs /proc', 6 if !-r '/proc/self/stat';
	my $begin = time;
	my $own = psql_job($node, q{BEGIN; SELECT stream_publish('s', 'own'); SELECT count(*) FROM stream_fetch('s', 'g');
		SELECT count(*) FROM stream_fetch('s', 'g', wait => '4 s'); ROLLBACK;});
	my $holder = session();
	$holder->query_safe(q{BEGIN; SELECT stream_publish('t', 'held')});
	my @others = map { psql_job($node, q{SELECT count(*) FROM stream_fetch('t', 'g', wait => '4 s');}) } 1 .. 2;
	waiting(3, 'three wait: after own messages, and for some that are undecided');
	my ($most, $xid) = (0, ask('SELECT pg_current_xact_id()'));
	while (time < $begin + 3)
	{
		my $now = cpu();
		$most = $now if $now > $most;
	}
	cmp_ok($most, '<', 60, "they used $most hundredths of a second");
	cmp_ok(ask('SELECT pg_current_xact_id()') - $xid, '<', 40, 'and hardly a transaction id');
	finish_job($_, 'its time is over') for $own, @others;
	$holder->query_safe('ROLLBACK');
	$holder->quit;
}

# ---- who lets go of a partition wakes whoever waits for it ----

for my $how ('leave', 'expiry')
{
	ask(q{SELECT stream_publish('s', 'x')});
	ask(qq{SELECT * FROM stream_join('s', '$how', 'one', '1 hour')});
	my $job = psql_job($node, qq{SELECT count(*) FROM stream_fetch('s', '$how', 1, wait => '50 s');});
	waiting(1, "$how: a member owns it, another waits");
	ask(qq{SELECT stream_leave('s', '$how', 'one')}) if $how eq 'leave';
	ask(qq{UPDATE weir.lease SET expires = now() - interval '1 day'}) if $how eq 'expiry';
	finish_job($job, "$how: it ends");
	is($job->{out}, "1\n", "$how: the other has it");
}

# ---- a locked stream ----
{
	my ($one, $two, $holder) = map { session() } 1 .. 3;
	my $t = subscribe($one, 't');
	my $u = ask(q{SELECT stream_channel('u')});
	wait_until($node, q{SELECT doing = 'following 1 streams' FROM weir.workers WHERE kind = 'notifier'}, 'one is followed');
	$holder->query_safe('BEGIN; LOCK TABLE u IN ACCESS EXCLUSIVE MODE');
	$two->query_safe(qq{LISTEN "$u"});
	for my $i (1 .. 3)
	{
		ask(q{SELECT stream_publish('t', 'beside it')});
		hears($one, $t, "message $i of a stream beside one that is locked when its first listener comes");
	}
	is(ask(q{SELECT doing FROM weir.workers WHERE kind = 'notifier'}), 'following 1 streams', 'which is not followed yet');
	$holder->query_safe('COMMIT');
	wait_until($node, q{SELECT doing = 'following 2 streams' FROM weir.workers WHERE kind = 'notifier'}, 'but when it is free');
	ask(q{SELECT stream_publish('u', 'at last')});
	hears($two, $u, 'and notified of');
	$holder->query_safe('BEGIN; LOCK TABLE u IN ACCESS EXCLUSIVE MODE');
	my $job = psql_job($node, q{SELECT stream_publish('u', 'waits');});
	ask(q{SELECT stream_publish('t', 'again')});
	hears($one, $t, 'the same with one that was followed before');
	$holder->query_safe('COMMIT');
	finish_job($job, 'the publisher went on');
	hears($two, $u, 'and its listener');
	$_->quit for $one, $two, $holder;
}

# ---- who listens to what is not there ----

# LISTEN takes any name, also that of a stream to come, from anybody.
{
	my ($stranger, $other, $reader) = map { session() } 1 .. 3;
	my $t = subscribe($other, 't');
	ask('CREATE ROLE stranger');
	$stranger->query_safe('SET ROLE stranger');
	my $next = ask('CREATE TABLE next (); SELECT to_regclass($$next$$)::oid');
	$stranger->query_safe(join ';', map { "LISTEN weir_${_}_x" } $next .. $next + 60);
	ask(q{SELECT stream_publish('t', 'before')});
	hears($other, $t, 'the notifier has looked at those');
	ask(q{SELECT stream_create('late', 1, 'text')});
	cmp_ok(ask(q{SELECT 'late'::regclass::oid}) - $next, '<=', 60, 'a stream that somebody else listened to before it was made');
	my $late = subscribe($reader, 'late');
	wait_until($node, q{SELECT doing = 'following 2 streams' FROM weir.workers WHERE kind = 'notifier'}, 'it is followed');
	ask(q{SELECT stream_publish('late', 'x')});
	hears($reader, $late, 'and its subscriber notified');

	# More names than there is room to count: every stream is followed.
	$stranger->query_safe(join ';', map { "LISTEN weir_${_}_y" } 1 .. 1100);
	wait_until($node, q{SELECT doing = 'following 5 streams' FROM weir.workers WHERE kind = 'notifier'}, 'no room: all are followed')
	  or diag ask('SELECT * FROM weir.workers');
	ask(q{SELECT stream_create('later', 1, 'text')});
	my $later = subscribe($reader, 'later');
	ask(q{SELECT stream_publish('later', 'x')});
	hears($reader, $later, 'also one that is made then');
	$stranger->query_safe('UNLISTEN *');
	$stranger->quit;
	ask('DROP TABLE late');
	wait_until($node, q{SELECT doing = 'following 2 streams' FROM weir.workers WHERE kind = 'notifier'}, 'one that is dropped is not followed any more');
	$_->quit for $other, $reader;
}

# ---- an extension that is made anew has other channels ----
{
	my ($one, $other) = (session(), session());
	my $before = subscribe($one, 's');
	ask(q{SELECT stream_publish('s', 'x')});
	hears($one, $before, 'the channel of an extension');
	ask(q{BEGIN; DROP EXTENSION weir CASCADE; CREATE EXTENSION weir; SELECT stream_adopt('s'); COMMIT});
	my $after = subscribe($other, 's');
	isnt($after, $before, 'made anew it has another');
	ask(q{SELECT stream_publish('s', 'y')});
	hears($other, $after, 'on which the notifier sends');
	$_->quit for $one, $other;
}

check_clean($node, 's', 'at the end');
no_alarms($node);
done_testing();
