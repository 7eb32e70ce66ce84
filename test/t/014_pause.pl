# Pausing and resuming beside readers, publishers, dumps and prepared
# transactions: the state is right at once, the tables follow, and nobody waits.
use strict;
use warnings FATAL => 'all';

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time);
use WeirPause;
use WeirTest;

my $node = pause_node('pause', conf => "log_lock_waits = on\ndeadlock_timeout = 1s");
my $points = has_points($node);

sub ask { return $node->safe_psql('postgres', $_[0]); }

sub make
{
	my ($stream, $partitions, $options) = @_;
	ask("SELECT stream_create('$stream', $partitions, 'text', '{\"partitioner\": \"explicit\"}')");
	publish($node, $stream, [ 0 .. $partitions - 1 ], 1, 10 * $partitions);
	return;
}

# Fails if something makes publishers or readers queue for longer than a moment.
sub goes_on
{
	my ($stream, $partitions, $name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my $sql = "SET statement_timeout = '2s';\n";
	for my $i (1 .. 10)
	{
		$sql .= "SELECT stream_publish('$stream', 'on', partition => $_);\n"
		  . "SELECT count(*) FROM stream_read('$stream', $_);\n" for @$partitions;
	}
	$sql .= "SELECT count(*) FROM $stream;\n";
	my ($status, $out, $err) = $node->psql('postgres', $sql, on_error_stop => 1);
	is($err, '', $name);
	return;
}

# A session that holds on to something.
sub holder
{
	my ($sql) = @_;
	my $session = $node->background_psql('postgres', timeout => 120, on_error_stop => 0);
	$session->query_safe($sql);
	return $session;
}

sub at_once
{
	my ($sql, $limit, $name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my $start = time;
	my $result = ask($sql);
	my $took = time - $start;
	cmp_ok($took, '<', $limit, sprintf '%s: %.2f s', $name, $took);
	return $result;
}

# What is undone at the end of a part is the next one's trouble.
sub finish
{
	my ($stream, $name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	ask("SELECT * FROM stream_resume('$stream')");
	settles($node, "$name: settled");
	check_clean($node, $stream, $name);
	log_is_sane($node, $stream, $name);
	return;
}

# Alone.
{
	make('s', 3);
	is(at_once(q{SELECT * FROM stream_pause('s', '{1}')}, 1, 'a pause returns at once'), '1|paused|t', 'what a pause says');
	becomes($node, 's', '0:active/attached 1:paused/detached 2:active/attached', 'its table is detached');
	is(ask(q{SELECT count(*), count(*) FILTER (WHERE partition = 1) FROM s}), '20|0', 'SELECT does not show it');
	unlike(ask(q{EXPLAIN SELECT * FROM s}), qr{s_p1}, 'nor plan it');
	like(ask(q{EXPLAIN SELECT * FROM s}), qr{s_p0}, 'as it plans the others');
	is(ask(q{SELECT count(*) FROM stream_read('s', 1)}), '10', 'stream_read shows it');
	is(ask(q{SELECT count(*) FROM s_p1}), '10', 'and its own table');
	is(ask(q{SELECT paused_at FROM weir.partitions WHERE stream = 's'::regclass AND partition = 1}), '10', 'paused_at');
	is(ask(q{SELECT * FROM stream_check('s')}), '', 'stream_check while detached');
	is(ask(q{SELECT * FROM stream_pause('s', '{1}')}), '1|paused|f', 'a second pause changes nothing');

	is(ask(q{BEGIN; SELECT partition, "offset" FROM stream_publish('s', 'no', partition => 1); ROLLBACK}), '1|10', 'a publish that rolls back');
	is(states($node, 's'), '0:active/attached 1:paused/detached 2:active/attached', 'resumes nothing');
	fails_with($node, q{SELECT * FROM stream_publish('s', 'no', partition => 1, expected_offset => 9)}, 'WR001', 'a wrong expected offset');
	is(states($node, 's'), '0:active/attached 1:paused/detached 2:active/attached', 'resumes nothing either');
	is(ask(q{SELECT * FROM stream_publish('s', 'right', partition => 1, expected_offset => 11)}), '1|11', 'the right one: what was rolled back leaves a gap');
	is(ask(q{SELECT state, cause FROM weir.partitions WHERE stream = 's'::regclass AND partition = 1}), 'active|publish', 'resumes');
	is(ask(q{SELECT max("offset") FROM stream_read('s', 1)}), '11', 'readable at commit');
	becomes($node, 's', '0:active/attached 1:active/attached 2:active/attached', 'and attached soon after');
	is(ask(q{SELECT count(*) FROM s}), '31', 'SELECT shows all again');

	ask(q{BEGIN; SELECT * FROM stream_pause('s'); ROLLBACK});
	is(states($node, 's'), '0:active/attached 1:active/attached 2:active/attached', 'a pause that rolls back');
	ask(q{SELECT * FROM stream_pause('s', detach => false)});
	settles($node, 'a pause that does not detach');
	is(states($node, 's'), '0:paused/attached 1:paused/attached 2:paused/attached', 'is one');
	is(ask(q{SELECT count(*) FROM s}), '31', 'and shows all');
	ask(q{SELECT * FROM stream_pause('s', '{2}')});
	becomes($node, 's', '0:paused/attached 1:paused/attached 2:paused/detached', 'now it detaches');
	ask(q{SELECT * FROM stream_pause('s', '{2}', detach => false)});
	becomes($node, 's', '0:paused/attached 1:paused/attached 2:paused/attached', 'and now it does not');
	is(events($node, 's'), 'created paused:1:manual detached:1 resumed:1:publish attached:1 paused:0,1,2:manual'
		. ' paused:2:manual detached:2 paused:2:manual attached:2', 'all that happened');
	finish('s', 'alone');
}

# A reader's open transaction.
{
	make('r', 3);
	my $reader = holder(q{BEGIN; SELECT count(*) FROM r;});
	at_once(q{SELECT * FROM stream_pause('r', '{1}')}, 1, 'a pause beside a reader');
	becomes($node, 'r', '0:active/attached 1:paused/detaching 2:active/attached', 'its detach is pending');
	goes_on('r', [ 0, 2 ], 'the other partitions go on');
	is($reader->query_safe(q{SELECT count(*) FROM stream_read('r', 1);}), '10', 'the reader goes on');
	is(ask(q{SELECT count(*) FROM r WHERE partition = 1}), '0', 'new statements do not see it');
	is(ask(q{SELECT count(*) FROM stream_check('r')}), '0', 'stream_check meanwhile');
	$reader->query_safe('COMMIT;');
	becomes($node, 'r', '0:active/attached 1:paused/detached 2:active/attached', 'it is finished afterwards');

	# Two, while somebody holds a snapshot as a dump does.
	ask(q{SELECT * FROM stream_resume('r')});
	settles($node, 'resumed');
	$reader->query_safe(q{BEGIN ISOLATION LEVEL REPEATABLE READ; LOCK TABLE r IN ACCESS SHARE MODE; SELECT 1;});
	my $all = ask('SELECT count(*) FROM r');
	ask(q{SELECT * FROM stream_pause('r', '{0}'); SELECT * FROM stream_pause('r', '{1}')});
	wait_until($node, q{SELECT count(*) = 1 FROM weir.partitions WHERE stream = 'r'::regclass AND actual = 'detaching'}, 'two pauses: one detach is pending');
	is(ask(q{SELECT string_agg(state, ' ' ORDER BY partition) FROM weir.partitions WHERE stream = 'r'::regclass}),
		'paused paused active', 'both are paused');
	goes_on('r', [2], 'two pauses: the third partition goes on');
	is($reader->query_safe('SELECT count(*) FROM r;'), $all, 'the snapshot shows all');
	# One of them is wanted again, whichever it is.
	ask(q{SELECT * FROM stream_publish('r', 'again', partition => 0)});
	is(ask(q{SELECT state FROM weir.partitions WHERE stream = 'r'::regclass AND partition = 0}), 'active', 'one is resumed');
	goes_on('r', [ 0, 2 ], 'and goes on');
	$reader->query_safe('COMMIT;');
	becomes($node, 'r', '0:active/attached 1:paused/detached 2:active/attached', 'then each is where it belongs');
	finish('r', 'two pauses');

	# Resumed while it is being detached, in three ways.
	my %ways = (
		'stream_resume' => q{SELECT * FROM stream_resume('r', '{1}')},
		'a publish' => q{SELECT * FROM stream_publish('r', 'wake', partition => 1)},
		'a read that resumes' => q{SELECT count(*) FROM stream_read('r', 1, resume => true)});
	for my $way (sort keys %ways)
	{
		$reader->query_safe('BEGIN; SELECT count(*) FROM r;');
		ask(q{SELECT * FROM stream_pause('r', '{1}')});
		becomes($node, 'r', '0:active/attached 1:paused/detaching 2:active/attached', "$way: while it is being detached");
		at_once($ways{$way}, 2, "$way: at once");
		is(ask(q{SELECT state FROM weir.partitions WHERE stream = 'r'::regclass AND partition = 1}), 'active', "$way: is active");
		goes_on('r', [ 0, 1, 2 ], "$way: all go on");
		$reader->query_safe('COMMIT;');
		becomes($node, 'r', '0:active/attached 1:active/attached 2:active/attached', "$way: attached afterwards");
		check_clean($node, 'r', $way);
	}
	# Paused, resumed and paused again before the first detach is finished.
	$reader->query_safe('BEGIN; SELECT count(*) FROM r;');
	ask(q{SELECT * FROM stream_pause('r', '{1}')});
	becomes($node, 'r', '0:active/attached 1:paused/detaching 2:active/attached', 'paused');
	ask(q{SELECT * FROM stream_publish('r', 'wake', partition => 1); SELECT * FROM stream_pause('r', '{1}')});
	$reader->query_safe('COMMIT;');
	becomes($node, 'r', '0:active/attached 1:paused/detached 2:active/attached', 'paused again: detached in the end');
	# It waits for the attach, behind the reader and the pending detach.
	ask(q{SELECT * FROM stream_resume('r', wait => true)});
	$reader->query_safe('BEGIN; SELECT count(*) FROM r;');
	ask(q{SELECT * FROM stream_pause('r', '{1}')});
	becomes($node, 'r', '0:active/attached 1:paused/detaching 2:active/attached', 'paused once more');
	fails_with($node, q{SET lock_timeout = '300ms'; SELECT * FROM stream_resume('r', '{1}', wait => true)}, '55P03', 'resume with wait behind a reader');
	is(ask(q{SELECT state FROM weir.partitions WHERE stream = 'r'::regclass AND partition = 1}), 'paused', 'which changes nothing');
	my $job = psql_job($node, q{SELECT * FROM stream_resume('r', '{1}', wait => true); SELECT actual FROM weir.partitions WHERE stream = 'r'::regclass AND partition = 1;});
	wait_until($node, q{SELECT count(*) = 1 FROM pg_stat_activity WHERE query ~ '^SELECT . FROM stream_resume' AND wait_event_type = 'Lock'}, 'it waits');
	goes_on('r', [ 0, 2 ], 'and holds up nobody');
	$reader->query_safe('COMMIT;');
	finish_job($job, 'a resume that waited');
	is($job->{out}, "1|active|t\nattached\n", 'it is attached when it ends');
	$reader->quit;
	finish('r', 'readers');
}

# Whoever uses the partition itself is in the way of the attach.
{
	make('u', 2);
	my $user = $node->background_psql('postgres', timeout => 120);
	my $look = one_session($node, 'postgres');
	for my $use (q{SELECT count(*) FROM stream_read('u', 1);}, q{SELECT count(*) FROM u_p1;})
	{
		ask(q{SELECT * FROM stream_pause('u', '{1}')});
		becomes($node, 'u', '0:active/attached 1:paused/detached', "detached before $use");
		$user->query_safe("BEGIN; $use");
		is(ask(q{SELECT partition FROM stream_publish('u', 'wake', partition => 1)}), '1', 'published');
		wait_until($node, q{SELECT NOT EXISTS (SELECT FROM weir.resume_request)}, 'the request is followed');
		is(states($node, 'u'), '0:active/attached 1:active/detached', 'active, and not attached');
		goes_on('u', [ 0, 1 ], 'all go on');
		fails_with($node, q{SET lock_timeout = '300ms'; SELECT * FROM stream_resume('u', '{1}', wait => true)}, '55P03', 'waiting for the attach', like => qr{cannot attach partition 1});
		my $start = time;
		$user->query_safe('COMMIT;');
		my $attached = 'f';
		$attached = $look->safe_psql('postgres', q{SELECT actual = 'attached' FROM weir.partitions WHERE stream = 'u'::regclass AND partition = 1})
		  while $attached ne 't' && time < $start + 30;
		cmp_ok(time - $start, '<', 1.5, sprintf 'attached after the last user had ended: %.2f s', time - $start);
	}
	$user->quit;
	$look->quit;
	finish('u', 'users');
}

# Beside pg_dump, which stands still: nobody reads what it writes.
{
	make('d', 2);
	publish($node, 'd', [ 0, 1 ], 1, 200, pad => 4000);
	my $before = total($node, 'd');
	my $dump = start_job('pg_dump', '-t', 'd', '-t', 'd_*', $node->connstr('postgres'));
	wait_until($node, q{SELECT count(*) > 0 FROM pg_stat_activity a JOIN pg_locks l USING (pid)
		WHERE relation = 'd_p1_s0'::regclass AND query ~ '^COPY'}, 'pg_dump has its locks, and stands still');
	ask(q{SELECT * FROM stream_pause('d', '{1}')});
	becomes($node, 'd', '0:active/attached 1:paused/detaching', 'a pause beside pg_dump');
	goes_on('d', [0], 'the other partition goes on');
	ask(q{SELECT * FROM stream_publish('d', 'wake', partition => 1)});
	goes_on('d', [ 0, 1 ], 'and so does the paused one, when resumed');
	ask(q{SELECT * FROM stream_pause('d', '{0,1}')});
	finish_job($dump, 'pg_dump');
	my $text = $dump->{out};
	is(scalar(() = $text =~ m{^[01]\t\d+\t20}mg), $before, 'it has all messages of its time');
	becomes($node, 'd', '0:paused/detached 1:paused/detached', 'then both are detached');
	my $log = slurp_file($node->logfile);
	unlike($log, qr{pg_dump.*(still waiting for|deadlock)}, 'it waited for nobody');
	finish('d', 'pg_dump');
}

# Prepared transactions.
{
	make('p', 2);
	for my $end ('COMMIT', 'ROLLBACK')
	{
		ask(q{SELECT * FROM stream_pause('p', '{1}')});
		becomes($node, 'p', '0:active/attached 1:paused/detached', "$end PREPARED: paused");
		my $before = total($node, 'p');
		ask(q{BEGIN; SELECT * FROM stream_publish('p', 'prepared', partition => 1); PREPARE TRANSACTION 'a'});
		is(states($node, 'p'), '0:active/attached 1:paused/detached', "$end PREPARED: paused until then");
		ask("$end PREPARED 'a'");
		is(ask(q{SELECT state FROM weir.partitions WHERE stream = 'p'::regclass AND partition = 1}), $end eq 'COMMIT' ? 'active' : 'paused', "$end PREPARED");
		is(total($node, 'p'), $before + ($end eq 'COMMIT'), "$end PREPARED: the message");
		settles($node, "$end PREPARED: settled");
		is(states($node, 'p'), $end eq 'COMMIT' ? '0:active/attached 1:active/attached' : '0:active/attached 1:paused/detached', "$end PREPARED: the table");
	}
	ask(q{SELECT * FROM stream_resume('p', wait => true)});
	my $events = events($node, 'p');
	ask(q{BEGIN; SELECT * FROM stream_publish('p', 'prepared', partition => 1); PREPARE TRANSACTION 'a'});
	for my $what ('pause', 'set_readonly')
	{
		fails_with($node, "SET lock_timeout = '200ms'; SELECT * FROM stream_$what('p')", '55P03', "$what beside a prepared publisher", like => qr{prepared transaction});
	}
	is(ask(q{SELECT bool_or(read_only), string_agg(state, ' ') FROM weir.partitions WHERE stream = 'p'::regclass}), 'f|active active', 'nothing has changed');
	is(events($node, 'p'), $events, 'nor is anything told');
	my $job = psql_job($node, q{SELECT * FROM stream_pause('p');});
	wait_until($node, q{SELECT count(*) = 1 FROM pg_stat_activity WHERE query ~ '^SELECT . FROM stream_pause' AND wait_event_type = 'Lock'}, 'a pause waits');
	goes_on('p', [0], 'the other partition goes on');
	ask(q{COMMIT PREPARED 'a'});
	finish_job($job, 'the pause');
	becomes($node, 'p', '0:paused/detached 1:paused/detached', 'paused after COMMIT PREPARED');
	# A prepared pause, a prepared resume.
	ask(q{SELECT * FROM stream_resume('p', wait => true); BEGIN; SELECT * FROM stream_pause('p', '{0}'); PREPARE TRANSACTION 'a'});
	goes_on('p', [1], 'beside a prepared pause');
	ask(q{COMMIT PREPARED 'a'});
	becomes($node, 'p', '0:paused/detached 1:active/attached', 'COMMIT PREPARED of a pause');
	ask(q{BEGIN; SELECT * FROM stream_resume('p', '{0}'); PREPARE TRANSACTION 'a'});
	ask(q{SELECT * FROM stream_publish('p', 'wake', partition => 0)});
	is(ask(q{SELECT state FROM weir.partitions WHERE stream = 'p'::regclass AND partition = 0}), 'active', 'a publish does not wait for a prepared resume');
	ask(q{ROLLBACK PREPARED 'a'});
	becomes($node, 'p', '0:active/attached 1:active/attached', 'ROLLBACK PREPARED of a resume, and a publish');
	finish('p', 'prepared');
}

# A publisher idle in its transaction.
{
	make('i', 2);
	my $events = events($node, 'i');
	my $idle = holder(q{BEGIN; SELECT * FROM stream_publish('i', 'idle', partition => 0);});
	my $dir = $node->basedir;
	my $bench = start_pgbench($node, 2, [ '-T' => 3, '-l', "--log-prefix=$dir/latency" ], { db => 'postgres' },
		'publish' => "SELECT stream_publish('i', 'bench', partition => 0);\n");
	my $start = time;
	fails_with($node, q{SET lock_timeout = '2s'; SELECT * FROM stream_pause('i')}, '55P03', 'a pause beside an idle publisher', like => qr{cannot pause stream "i"});
	my $took = time - $start;
	cmp_ok($took, '>', 1.5, 'it took lock_timeout');
	cmp_ok($took, '<', 5, 'and not more');
	my $done = stop_pgbench($bench, 'other publishers');
	my ($longest) = sort { $b <=> $a } map { (split)[2] } map { split /\n/, slurp_file($_) } glob "$dir/latency.*";
	cmp_ok($done, '>', 100, 'other publishers went on');
	cmp_ok($longest / 1000, '<', 500, sprintf 'and did not wait: at most %.0f ms', $longest / 1000);
	is(states($node, 'i'), '0:active/attached 1:active/attached', 'nothing has changed');
	is(events($node, 'i'), $events, 'nor is anything told');
	fails_with($node, q{SET statement_timeout = '500ms'; SELECT * FROM stream_pause('i', '{0}')}, '57014', 'it can be cancelled');
	is(ask(q{SELECT changed FROM stream_pause('i', '{1}')}), 't', 'the other partition can be paused');

	# All or none, so that its own publish goes through.
	my $job = psql_job($node, q{SELECT * FROM stream_pause('i', '{0,1}');});
	wait_until($node, q{SELECT count(*) = 1 FROM pg_stat_activity WHERE query ~ '^SELECT . FROM stream_pause' AND wait_event_type = 'Lock'}, 'a pause of both waits');
	$idle->query_safe(q{SET statement_timeout = '2s'; SELECT * FROM stream_publish('i', 'idle', partition => 1); COMMIT;});
	$idle->quit;
	finish_job($job, 'a pause of both');
	finish('i', 'an idle publisher');
}

# Deadlocks are found, soon, and by the pause.
{
	make('l', 2);
	my $one = holder(q{BEGIN; SELECT * FROM stream_publish('l', 'one', partition => 0);});
	my $job = psql_job($node, q{\set VERBOSITY verbose
BEGIN;
SELECT * FROM stream_publish('l', 'two', partition => 1);
SELECT * FROM stream_pause('l', '{0}');
COMMIT;});
	wait_until($node, q{SELECT count(*) = 1 FROM pg_stat_activity WHERE query ~ '^SELECT . FROM stream_pause' AND wait_event_type = 'Lock'}, 'the first pause waits');
	my $start = time;
	my ($out, $failed) = $one->query(q{SELECT * FROM stream_pause('l', '{1}');});
	cmp_ok(time - $start, '<', 4, 'two pauses that wait for each other do not wait long');
	$one->query('ROLLBACK;');
	$one->quit;
	finish_job($job);
	is(($job->{err} =~ m{40P01} ? 1 : 0) + ($failed ? 1 : 0), 1, 'one of them has failed') or diag $job->{err};
	finish('l', 'deadlock');
}

# A publish that meets a pause half way.
SKIP:
{
	skip 'needs a build with debug points', 1 if !$points;
	make('m', 2);
	for my $end ('COMMIT', 'ROLLBACK')
	{
		my $before = total($node, 'm');
		my $gate = holder('SELECT pg_advisory_lock(7);');
		my $pause = psql_job($node, "SET weir.debug_points = 'pause_drained=lock:7'; BEGIN; SELECT * FROM stream_pause('m', '{0}'); $end;");
		wait_until($node, q{SELECT count(*) = 1 FROM pg_locks WHERE locktype = 'advisory' AND NOT granted}, "$end: a pause has drained");
		my @jobs = map { psql_job($node, "SELECT * FROM stream_publish('m', 'beside $_', partition => 0);") } 1 .. 3;
		wait_until($node, q{SELECT count(*) = 3 FROM pg_locks WHERE relation = 'm_p0'::regclass AND NOT granted}, "$end: publishers wait");
		goes_on('m', [1], "$end: the other partition goes on");
		$gate->query_safe('SELECT pg_advisory_unlock(7);');
		$gate->quit;
		finish_job($_, "$end: publisher") for @jobs;
		finish_job($pause, "$end: the pause");
		is(ask(q{SELECT state FROM weir.partitions WHERE stream = 'm'::regclass AND partition = 0}), 'active', "$end: active");
		settles($node, "$end: settled");
		is(total($node, 'm'), $before + 3 + 10, "$end: nothing lost");
		is(states($node, 'm'), '0:active/attached 1:active/attached', "$end: attached");
	}
	like(events($node, 'm'), qr{^created paused:0:manual( detached:0)?( attached:0)? resumed:0:publish( attached:0)?$}, 'what happened, once');

	# One that has its lock, and reads the state only after a pause tried.
	ask(q{SELECT * FROM stream_pause('m', '{1}')});
	becomes($node, 'm', '0:active/attached 1:paused/detached', 'paused for the next');
	my $gate = holder('SELECT pg_advisory_lock(7);');
	my @jobs = map { psql_job($node, "SET weir.debug_points = 'publish_locked=lock:7'; SELECT * FROM stream_publish('m', 'late $_', partition => $_);") } 0, 1;
	wait_until($node, q{SELECT count(*) = 2 FROM pg_locks WHERE locktype = 'advisory' AND NOT granted}, 'publishers have their locks');
	my $pause = psql_job($node, "SELECT * FROM stream_pause('m', resume_all => true);");
	wait_until($node, q{SELECT count(*) = 1 FROM pg_stat_activity WHERE query ~ '^SELECT . FROM stream_pause' AND wait_event_type = 'Lock'}, 'a pause waits for them');
	$gate->query_safe('SELECT pg_advisory_unlock(7);');
	$gate->quit;
	finish_job($_, 'a late publisher') for @jobs;
	finish_job($pause, 'the pause after them');
	becomes($node, 'm', '0:paused/detached 1:paused/detached', 'paused after them');
	ask(q{SELECT * FROM stream_publish('m', 'all', partition => 0)});
	becomes($node, 'm', '0:active/attached 1:active/attached', 'resume_all by a publish to one');
	finish('m', 'half way');
}

# A publisher that needs segments while its partition is being detached, which
# PostgreSQL refuses to attach: it gets loose ones, which are attached later.
{
	ask(q{SELECT stream_create('lo', 2, 'text', '{"partitioner": "explicit", "segment_messages": 10}')});
	ask('CREATE UNIQUE INDEX ON lo (partition, "offset")');
	publish($node, 'lo', [ 0, 1 ], 1, 16);
	my $reader = holder('BEGIN; SELECT count(*) FROM lo;');
	ask(q{SELECT * FROM stream_pause('lo', '{1}')});
	becomes($node, 'lo', '0:active/attached 1:paused/detaching', 'loose: detaching');
	publish($node, 'lo', [1], 1, 60);
	is(ask(q{SELECT count(*) > 0 FROM weir.segment WHERE loose AND partition = 'lo_p1'::regclass}), 't', 'loose: segments are made');
	is(ask(q{SELECT count(*), count(DISTINCT "offset") FROM stream_read('lo', 1)}), '68|68', 'loose: read');
	is(ask(q{SELECT * FROM stream_check('lo')}), '', 'loose: stream_check');
	$reader->query_safe('COMMIT;');
	$reader->quit;
	becomes($node, 'lo', '0:active/attached 1:active/attached', 'loose: attached');
	is(ask(q{SELECT count(*) FROM weir.segment WHERE loose}), '0', 'loose: none is left');
	is(ask('SELECT count(*) FROM lo WHERE partition = 1'), '68', 'loose: in the table');
	is(ask(q{SELECT count(*) FROM pg_constraint WHERE conname = 'weir_bounds'}), '0', 'loose: nor their constraint');
	check_clean($node, 'lo', 'after loose segments');
	$reader = holder('BEGIN; SELECT count(*) FROM lo;');
	ask(q{SELECT * FROM stream_pause('lo', '{1}')});
	becomes($node, 'lo', '0:active/attached 1:paused/detaching', 'loose: detaching again');
	publish($node, 'lo', [1], 1, 60);
	$reader->query_safe('COMMIT;');
	$reader->quit;
	ask('DROP TABLE lo');
	is(ask(q{SELECT count(*) FROM pg_class WHERE relname ~ '^lo_'}), '0', 'loose: DROP TABLE takes them');
}

settles($node, 'all is settled');
is(ask('SELECT * FROM stream_check(\'weir.activity\')'), '', 'the activity log');
$node->stop;
ended_well($node);
done_testing();
