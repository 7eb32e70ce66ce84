# Paused partitions through restarts, dumps, promotion, without a keeper, many
# at once, and when the extension goes.
use strict;
use warnings FATAL => 'all';

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use WeirPause;
use WeirTest;

my $node = pause_node('restart', init => [ allows_streaming => 1 ]);

sub ask { return $node->safe_psql($_[1] // 'postgres', $_[0]); }

sub make
{
	my ($stream, $partitions, $db) = @_;
	ask("SELECT stream_create('$stream', $partitions, 'text', '{\"partitioner\": \"explicit\"}')", $db);
	publish($node, $stream, [ 0 .. $partitions - 1 ], 1, 10 * $partitions, db => $db // 'postgres');
	return;
}

# It does nothing, and is there: as if it was dead, for as long as wanted.
my $stopped;
sub stop_keeper { $stopped = keeper_pid($node, @_); kill 'STOP', $stopped; return; }
sub go_on_keeper { kill 'CONT', $stopped; return; }

# ---- no keeper ----

{
	make('k', 3);
	ask(q{SELECT * FROM stream_pause('k', '{2}')});
	settles($node, 'before');
	stop_keeper();
	ask(q{SELECT * FROM stream_pause('k', '{1}')});
	is(states($node, 'k'), '0:active/attached 1:paused/attached 2:paused/detached', 'no keeper: paused all the same');
	is(ask(q{SELECT * FROM stream_check('k')}), '', 'no keeper: stream_check');
	ask("SELECT count(*) FROM stream_publish('k', 'wake', partition => $_)") for 1, 2, 1, 2;
	is(states($node, 'k'), '0:active/attached 1:active/attached 2:active/detached', 'no keeper: resumed by publish');
	is(ask('SELECT count(*) FROM weir.resume_request'), '2', 'no keeper: one request is enough');
	ask(q{SELECT * FROM stream_pause('k', '{1,2}', resume_all => true)});
	is(states($node, 'k'), '0:active/attached 1:paused/attached 2:paused/detached', 'no keeper: paused again');
	ask(q{SELECT count(*) FROM stream_publish('k', 'wake', partition => 0)});
	is(states($node, 'k'), '0:active/attached 1:active/attached 2:active/detached', 'no keeper: resume_all');
	is(ask(q{SELECT changed FROM stream_resume('k', '{1}')}), 'f', 'no keeper: stream_resume follows the request, and changes nothing');
	is(ask(q{SELECT count(*) FROM stream_resume('k', wait => true)}), '3', 'no keeper: and attaches');
	is(states($node, 'k'), '0:active/attached 1:active/attached 2:active/attached', 'no keeper: all attached');
	ask(q{SELECT * FROM stream_pause('k', '{2}')});
	ask(q{SELECT count(*) FROM stream_publish('k', 'wake', partition => 2)});
	is(total($node, 'k'), '36', 'no keeper: all is there');
	go_on_keeper();
	settles($node, 'a keeper again');
	is(states($node, 'k'), '0:active/attached 1:active/attached 2:active/attached', 'a keeper again: active');
	check_clean($node, 'k', 'no keeper');
	log_is_sane($node, 'k', 'no keeper');

	# One that is ended all the time.
	my $kill = start_pgbench($node, 1, [ '-T' => 4 ], 'kill' => "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type = 'weir keeper';\n\\set ms 20\n\\sleep :ms ms\n");
	my $work = start_pgbench($node, 2, [ '-T' => 4 ], 'pause' => "\\set p random(0, 2)\nSELECT * FROM stream_pause('k', ARRAY[:p]);\n\\set ms 30\n\\sleep :ms ms\n",
		'publish' => "\\set p random(0, 2)\nSELECT stream_publish('k', 'x', partition => :p);\n");
	stop_pgbench($_, 'beside a keeper that dies') for $kill, $work;
	settles($node, 'a keeper that died: settled');
	is(ask(q{SELECT * FROM stream_check('k')}), '', 'a keeper that died: stream_check');
	log_is_sane($node, 'k', 'a keeper that died');
	ask('DROP TABLE k');
}

# ---- restarts ----

{
	make('r', 5);
	ask(q{SELECT * FROM stream_pause('r', '{1}'); SELECT * FROM stream_pause('r', '{2,3}', resume_all => true);
		SELECT * FROM stream_set_readonly('r', '{3,4}')});
	my $expected = '0:active/attached 1:paused/detached 2:paused/detached 3:paused/detached 4:active/attached';
	my $options = q{SELECT string_agg(concat(partition, read_only, resume_all, cause, paused_at, first_pause, latest_pause, first_read_only, first_publish, latest_publish), ' ' ORDER BY partition)
		FROM weir.partitions WHERE stream = 'r'::regclass};
	becomes($node, 'r', $expected, 'before restarts');
	settles($node, 'before restarts');
	my $before = ask($options);
	my $events = events($node, 'r');
	is($events =~ s{ detached:\d}{}gr, 'created paused:1:manual paused:2,3:manual readonly set:3,4', 'events');
	is(join(' ', sort $events =~ m{ (detached:\d)}g), 'detached:1 detached:2 detached:3', 'and of the tables');
	for my $mode ('fast', 'immediate')
	{
		$node->stop($mode);
		$node->start;
		is(states($node, 'r'), $expected, "$mode: states at once");
		is(ask($options), $before, "$mode: and what belongs to them");
		wait_until($node, q{SELECT EXISTS (SELECT FROM weir.workers WHERE kind = 'keeper' AND doing = 'idle')}, "$mode: the keeper has looked");
		is(states($node, 'r'), $expected, "$mode: states afterwards");
		is(events($node, 'r'), $events, "$mode: nothing is told again");
		is(ask(q{SELECT activity_offset = stream_high_watermark('weir.activity', 0) FROM weir.checkpoint}), 't', "$mode: the checkpoint is at the end");
		fails_with($node, q{SELECT stream_publish('r', 'no', partition => 3)}, 'WR015', "$mode: read-only and paused");
		fails_with($node, q{SELECT stream_publish('r', 'no', partition => 4)}, 'WR015', "$mode: read-only");
		is(states($node, 'r'), $expected, "$mode: which resumes nothing");
	}
	# A request that nobody has followed yet.
	stop_keeper();
	ask(q{SELECT count(*) FROM stream_publish('r', 'sibling', partition => 0)});
	is(ask('SELECT count(*) FROM weir.resume_request'), '1', 'a request is open');
	$node->stop('immediate');
	$node->start;
	is(ask(q{SELECT string_agg(state, ' ' ORDER BY partition) FROM weir.partitions WHERE stream = 'r'::regclass}), 'active paused active active active', 'resume_all across a crash');
	becomes($node, 'r', '0:active/attached 1:paused/detached 2:active/attached 3:active/attached 4:active/attached', 'and attached without help');
	settles($node, 'after the crash');
	is(ask(q{SELECT string_agg(read_only::text, ' ' ORDER BY partition) FROM weir.partitions WHERE stream = 'r'::regclass}), 'false false false true true', 'read-only across all that');
	like(events($node, 'r'), qr{resumed:2,3:publish}, 'told once');
	$node->restart;
	is(states($node, 'r'), '0:active/attached 1:paused/detached 2:active/attached 3:active/attached 4:active/attached', 'a restart after a resume');
	is(total($node, 'r'), '51', 'all messages');
	log_is_sane($node, 'r', 'after restarts');
	ask(q{SELECT * FROM stream_resume('r', wait => true)});
	check_clean($node, 'r', 'after restarts');
	ask('DROP TABLE r');
	fails_with($node, $_, 'WR016', $_) for q{SELECT * FROM stream_pause('weir.activity')}, q{SELECT * FROM stream_set_readonly('weir.activity')},
	  q{SELECT stream_alter('weir.activity', '{}')}, 'DROP TABLE weir.activity', q{SELECT stream_drop('weir.activity')};
}

# ---- dumps ----

{
	$node->safe_psql('postgres', 'CREATE DATABASE source');
	ask('CREATE EXTENSION weir', 'source');
	make('d', 5, 'source');
	my $states = '0:active/attached 1:paused/detached 2:paused/detached 3:active/attached 4:active/detached';
	ask(q{CREATE INDEX ON d (key); SELECT * FROM stream_pause('d', '{1}'); SELECT * FROM stream_pause('d', '{2}');
		SELECT * FROM stream_set_readonly('d', '{2,3}'); SELECT * FROM stream_pause('d', '{4}')}, 'source');
	settles($node, 'before dumps', db => 'source');
	my $reader = $node->background_psql('source', timeout => 180);
	for my $kind ('-Fc', '-Fp', 'detaching')
	{
		my $file = $node->basedir . "/dump$kind";
		my $name = "dump $kind";
		my $db = lc 'copy_' . ($kind =~ s{-}{}r);
		if ($kind eq 'detaching')
		{
			ask(q{SELECT * FROM stream_resume('d', '{1}', wait => true)}, 'source');
			$reader->query_safe('BEGIN; SELECT count(*) FROM d;');
			ask(q{SELECT * FROM stream_pause('d', '{1}')}, 'source');
			wait_until($node, q{SELECT actual = 'detaching' FROM weir.partitions WHERE stream = 'd'::regclass AND partition = 1}, "$name: it is", db => 'source');
		}
		else
		{
			# A request that nobody has followed is dumped too.
			stop_keeper(db => 'source');
			ask(q{SELECT count(*) FROM stream_publish('d', 'wake', partition => 4)}, 'source');
			is(states($node, 'd', db => 'source'), $states, "$name: in the source");
		}
		my $contents = contents($node, 'd', db => 'source');
		my $count = total($node, 'd', db => 'source');
		my $log_end = ask(q{SELECT count(*) FROM stream_read('weir.activity', max_messages => NULL)}, 'source');
		$node->command_ok([ 'pg_dump', $kind eq '-Fc' ? '-Fc' : '-Fp', '-f', $file, $node->connstr('source') ], "$name: dumped");
		if ($kind eq 'detaching') { $reader->query_safe('COMMIT;'); $reader->quit; }
		else { go_on_keeper(); }
		$node->safe_psql('postgres', "CREATE DATABASE $db");
		if ($kind eq '-Fc') { $node->command_ok([ 'pg_restore', '-d', $node->connstr($db), $file ], "$name: restored"); }
		else
		{
			# pg_dump writes ALTER INDEX ... ATTACH PARTITION for the index of a
			# table whose detach is pending, and no ATTACH for the table: that
			# error may come, and no other.
			my @errors = grep { m{ERROR:} && !($kind eq 'detaching' && m{cannot attach index}) }
			  split /\n/, script_from($node, $file, db => $db);
			is(join("\n", @errors), '', "$name: restored");
		}
		settles($node, "$name: settled", db => $db);
		my $last = $kind eq 'detaching' ? '4:paused/detached' : '4:active/attached';
		is(states($node, 'd', db => $db), "0:active/attached 1:paused/detached 2:paused/detached 3:active/attached $last", "$name: states");
		is(ask(q{SELECT string_agg(concat(partition, read_only, resume_all), ' ' ORDER BY partition) FROM weir.partitions WHERE stream = 'd'::regclass}, $db),
			'0ff 1ff 2tf 3tf 4ff', "$name: options");
		is(contents($node, 'd', db => $db), $contents, "$name: messages");
		cmp_ok(ask(q{SELECT count(*) FROM stream_read('weir.activity', max_messages => NULL)}, $db), '>=', $log_end, "$name: the log");
		is(ask(q{SELECT * FROM stream_check('d')}, $db), '', "$name: stream_check");
		fails_with($node, q{SELECT stream_publish('d', 'no', partition => 2)}, 'WR015', "$name: read-only", db => $db);
		is(ask(q{SELECT count(*) FROM pg_depend WHERE refobjid = 'd'::regclass AND objid IN ('d_p1'::regclass, 'd_p2'::regclass) AND deptype = 'a'}, $db), '2', "$name: tied to the stream");
		ask(q{SELECT count(*) FROM stream_publish('d', 'wake', partition => 1)}, $db);
		becomes($node, 'd', "0:active/attached 1:active/attached 2:paused/detached 3:active/attached $last", "$name: resumed", db => $db);
		is(total($node, 'd', db => $db), $count + 1, "$name: all of it");
		ask('DROP TABLE d', $db);
		is(ask(q{SELECT string_agg(relname, ' ') FROM pg_class WHERE relname ~ '^d_p'}, $db), '', "$name: DROP TABLE takes all");
		ask("DROP DATABASE $db");
		if ($kind ne 'detaching')
		{
			settles($node, "$name: the source goes on", db => 'source');
			ask(q{SELECT * FROM stream_pause('d', '{4}')}, 'source');
			settles($node, "$name: the source is paused again", db => 'source');
		}
	}
	# DROP TABLE of one that was restored with detached parts, before anything else.
	$node->command_ok([ 'pg_dump', '-Fc', '-f', $node->basedir . '/drop', $node->connstr('source') ], 'dumped to be dropped');
	$node->safe_psql('postgres', 'CREATE DATABASE dropped');
	$node->command_ok([ 'pg_restore', '-d', $node->connstr('dropped'), $node->basedir . '/drop' ], 'restored to be dropped');
	settles($node, 'restored to be dropped', db => 'dropped');
	ask('DROP TABLE d', 'dropped');
	is(ask(q{SELECT string_agg(relname, ' ') FROM pg_class WHERE relname ~ '^d_p'}, 'dropped'), '', 'DROP TABLE takes restored detached parts');
	# The extension goes; the tables stay, tied together.
	ask('DROP EXTENSION weir CASCADE', 'source');
	is(ask(q{SELECT count(*) > 3 FROM pg_class WHERE relname ~ '^d_p'}, 'source'), 't', 'DROP EXTENSION leaves the tables');
	is(ask('SELECT count(*) FROM d_p1', 'source'), '10', 'with their messages');
	ask('DROP TABLE d', 'source');
	is(ask(q{SELECT string_agg(relname, ' ') FROM pg_class WHERE relname ~ '^d_p'}, 'source'), '', 'DROP TABLE takes them then');
	ask("DROP DATABASE $_") for 'source', 'dropped';
}

# ---- a standby ----

{
	make('s', 3);
	ask(q{SELECT * FROM stream_pause('s', '{1}')});
	settles($node, 'before the standby');
	$node->backup('b');
	my $standby = PostgreSQL::Test::Cluster->new('standby');
	$standby->init_from_backup($node, 'b', has_streaming => 1);
	$standby->start;
	my $reader = $node->background_psql('postgres');
	$reader->query_safe('BEGIN; SELECT count(*) FROM s;');
	ask(q{SELECT * FROM stream_pause('s', '{2}')});
	becomes($node, 's', '0:active/attached 1:paused/detached 2:paused/detaching', 'detaching on the primary');
	stop_keeper();
	ask(q{SELECT count(*) FROM stream_publish('s', 'wake', partition => 1)});
	$node->wait_for_catchup($standby);
	is(states($standby, 's'), '0:active/attached 1:active/detached 2:paused/detaching', 'the same on the standby');
	is(total($standby, 's'), '31', 'which reads all');
	is($standby->safe_psql('postgres', q{SELECT * FROM stream_check('s')}), '', 'stream_check there');
	fails_with($standby, $_, '25006', "standby: $_") for q{SELECT * FROM stream_pause('s')}, q{SELECT * FROM stream_resume('s')},
	  q{SELECT * FROM stream_set_readonly('s')}, 'CALL stream_pause_all()', q{SELECT * FROM stream_read('s', 2, resume => true)};
	$standby->promote;
	becomes($standby, 's', '0:active/attached 1:active/attached 2:paused/detached', 'after promotion the keeper goes on');
	settles($standby, 'settled after promotion');
	$standby->safe_psql('postgres', q{SELECT count(*) FROM stream_publish('s', 'wake', partition => 2)});
	becomes($standby, 's', '0:active/attached 1:active/attached 2:active/attached', 'and on');
	check_clean($standby, 's', 'after promotion');
	log_is_sane($standby, 's', 'after promotion');
	$standby->stop;
	go_on_keeper();
	$reader->query_safe('COMMIT;');
	$reader->quit;
	settles($node, 'the primary goes on');
	ask('DROP TABLE s');
}

# ---- many ----

{
	ask(join ";\n", map { "SELECT stream_create('many$_', 1, 'text')" } 1 .. 300);
	my $holder = $node->background_psql('postgres');
	$holder->query_safe(q{BEGIN; SELECT count(*) FROM stream_publish('many7', 'open');});
	my ($status, $out, $err) = $node->psql('postgres', q{SET lock_timeout = '300ms'; CALL stream_pause_all(NULL)});
	isnt($status, 0, 'pause_all: no NULL');
	($status, $out, $err) = $node->psql('postgres', q{SET lock_timeout = '300ms'; CALL stream_pause_all()});
	is($out, '299|299|1', 'pause_all: one could not be paused');
	like($err, qr{WARNING:.*cannot pause stream "many7"}, 'pause_all: which one');
	unlike($err, qr{ERROR}, 'pause_all: no error');
	fails_with($node, q{BEGIN; SET lock_timeout = '100ms'; CALL stream_resume_all(); CALL stream_pause_all(); COMMIT}, '55P03', 'pause_all in a transaction: all or nothing');
	is(ask(q{SELECT count(*) FROM weir.partitions WHERE state = 'paused'}), '299', 'which has changed nothing');
	settles($node, 'many are settled');
	is(ask(q{SELECT count(*) FROM weir.partitions WHERE actual = 'detached'}), '299', 'many are detached');
	$holder->query_safe('COMMIT;');
	$holder->quit;
	is(ask('CALL stream_pause_all()'), '1|1|0', 'pause_all again');
	is(ask('CALL stream_resume_all()'), '300|300|0', 'resume_all');
	settles($node, 'many are settled again');
	is(ask(q{SELECT count(*) FROM weir.partitions WHERE actual = 'attached' AND state = 'active' AND stream::text ~ '^many'}), '300', 'many are attached');
	is(ask(q{SELECT count(*) FROM weir.streams s, stream_check(s.stream)}), '0', 'many: stream_check');
	ask('CREATE ROLE somebody LOGIN');
	is(ask('SET ROLE somebody; CALL stream_pause_all()'), '0|0|0', 'who owns nothing pauses nothing');
	fails_with($node, q{SET ROLE somebody; SELECT * FROM stream_pause('many1')}, '42501', 'nor what is not his own');
	fails_with($node, q{SET ROLE somebody; SELECT * FROM stream_pause('many1', '{77}')}, '42501', 'and is told nothing of it');
}
$node->stop;

# ---- no room for a keeper ----

{
	$node->append_conf('postgresql.conf', "max_worker_processes = 1\nmax_logical_replication_workers = 0");
	$node->start;
	ask(q{SELECT * FROM stream_pause('many1'); SELECT * FROM stream_pause('many2')});
	is(states($node, 'many1'), '0:paused/attached', 'no room: paused');
	ask(q{SELECT count(*) FROM stream_publish('many1', 'wake')});
	is(states($node, 'many1'), '0:active/attached', 'no room: resumed');
	is(total($node, 'many1'), '1', 'no room: the message');
	is(ask(q{SELECT count(*) FROM stream_check('many1')}), '0', 'no room: stream_check');
	$node->append_conf('postgresql.conf', 'max_worker_processes = 8');
	$node->restart;
	becomes($node, 'many2', '0:paused/detached', 'room: what was left undone');
	settles($node, 'room: settled');
	is(states($node, 'many1'), '0:active/attached', 'room: the request was followed');
	$node->stop;
}

ended_well($node);
done_testing();
