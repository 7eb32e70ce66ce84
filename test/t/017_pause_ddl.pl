# What happens to paused partitions when somebody runs DDL, publishes tables,
# refers to them; and pausing by itself.
use strict;
use warnings FATAL => 'all';

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use WeirPause;
use WeirTest;

my $node = pause_node('ddl', conf => 'wal_level = logical');
my $points = has_points($node);
my $active = '0:active/attached 1:active/attached';
my $paused = '0:active/attached 1:paused/detached';

sub ask { return $node->safe_psql('postgres', $_[0]); }

sub make
{
	my ($stream) = @_;
	ask("SELECT stream_create('$stream', 2, 'text', '{\"partitioner\": \"explicit\"}')");
	publish($node, $stream, [ 0, 1 ], 1, 20);
	return;
}

sub detach
{
	my ($stream, $name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	ask("SELECT * FROM stream_pause('$stream', '{1}')");
	return becomes($node, $stream, $paused, "$name: detached");
}

sub attach
{
	my ($stream, $name, %opt) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	ask("SELECT count(*) FROM stream_publish('$stream', 'wake', partition => 1)");
	becomes($node, $stream, $active, "$name: attached again");
	settles($node, "$name: settled");
	check_clean($node, $stream, $name);
	log_is_sane($node, $stream, $name) unless $opt{renamed};
	return;
}

sub tables_like
{
	my ($pattern) = @_;
	return ask("SELECT count(*) FROM pg_class WHERE relname ~ '$pattern'");
}

ask('CREATE ROLE one; CREATE ROLE two; CREATE ROLE reader; CREATE SCHEMA elsewhere; GRANT ALL ON SCHEMA public, elsewhere TO one, two');

# ---- DROP takes everything ----

for my $how ('DROP TABLE', 'stream_drop', 'DROP OWNED')
{
	make('gone');
	detach('gone', $how);
	ask($how eq 'DROP TABLE' ? 'DROP TABLE gone' : $how eq 'stream_drop' ? q{SELECT stream_drop('gone')}
		: 'ALTER TABLE gone OWNER TO one; DROP OWNED BY one; GRANT ALL ON SCHEMA public, elsewhere TO one');
	is(tables_like('^gone'), '0', "$how of a stream with a detached partition leaves nothing");
	is(ask(q{SELECT count(*) FROM weir.partition p WHERE NOT EXISTS (SELECT FROM pg_class c WHERE c.oid = p.partition)}), '0', "$how: no row is left");
}
{
	make('gone');
	my $reader = $node->background_psql('postgres');
	$reader->query_safe('BEGIN; SELECT count(*) FROM gone;');
	ask(q{SELECT * FROM stream_pause('gone', '{1}')});
	becomes($node, 'gone', '0:active/attached 1:paused/detaching', 'detaching');
	$reader->query_safe('COMMIT; BEGIN; SELECT 1;');
	$reader->quit;
	ask('DROP TABLE gone');
	is(tables_like('^gone'), '0', 'DROP beside the end of a detach');

	make('gone');
	detach('gone', 'rolled back');
	ask('BEGIN; DROP TABLE gone; ROLLBACK');
	attach('gone', 'a DROP that was rolled back');
	ask('BEGIN; SELECT * FROM stream_pause(\'gone\'); DROP TABLE gone; COMMIT');
	is(tables_like('^gone'), '0', 'paused and dropped at once');
	like(events($node, 'gone'), qr{dropped$}, 'that is told');
	make('gone');
	is(ask(q{SELECT string_agg(state, ' ') FROM weir.partitions WHERE stream = 'gone'::regclass}), 'active active', 'one of the same name is active');
	is(ask(q{SELECT * FROM stream_check('gone')}), '', 'and has nothing to do with it');
	ask('DROP TABLE gone');
}

# ---- owner, schema, rights ----

{
	make('o');
	ask('GRANT SELECT ON o TO reader');
	detach('o', 'owner');
	is(ask(q{SET ROLE reader; SELECT count(*) FROM o_p1}), '10', 'who reads the stream reads the detached table');
	ask('ALTER TABLE o OWNER TO one');
	is(ask(q{SELECT DISTINCT relowner::regrole FROM pg_class WHERE relname ~ '^o(_p\d+(_s\d+)?)?$'}), 'one', 'OWNER');
	ask('ALTER TABLE o SET SCHEMA elsewhere');
	is(ask(q{SELECT DISTINCT relnamespace::regnamespace FROM pg_class WHERE relname ~ '^o(_p\d+(_s\d+)?)?$'}), 'elsewhere', 'SET SCHEMA');
	ask('ALTER TABLE elsewhere.o SET SCHEMA public');
	fails_with($node, 'SET ROLE two; SELECT * FROM o_p1', '42501', 'who has no right');
	ask('GRANT SELECT, INSERT ON o TO two');
	is(ask(q{SET ROLE two; SELECT count(*) FROM o_p1}), '10', 'GRANT');
	fails_with($node, q{SET ROLE two; INSERT INTO o_p1 (partition) VALUES (1)}, '42501', 'INSERT is not granted on parts');
	fails_with($node, q{SET ROLE two; SELECT * FROM stream_pause('o')}, '42501', 'nor is a pause anybody\'s');
	ask('REVOKE SELECT ON o FROM two');
	fails_with($node, 'SET ROLE two; SELECT * FROM o_p1', '42501', 'REVOKE');
	ask('GRANT SELECT ON ALL TABLES IN SCHEMA public TO two; REVOKE ALL ON o FROM two');
	fails_with($node, 'SET ROLE two; SELECT * FROM o_p1', '42501', 'REVOKE after GRANT ON ALL TABLES');
	# Rows that a policy hides are hidden in the detached table too.
	ask('ALTER TABLE o ENABLE ROW LEVEL SECURITY');
	is(ask('SET ROLE reader; SELECT count(*) FROM o'), '0', 'row security on the stream');
	fails_with($node, 'SET ROLE reader; SELECT * FROM o_p1', '42501', 'is not got round by the detached table');
	ask('ALTER TABLE o DISABLE ROW LEVEL SECURITY');
	is(ask(q{SET ROLE reader; SELECT count(*) FROM o_p1}), '10', 'row security switched off');
	ask('ALTER TABLE o ENABLE ROW LEVEL SECURITY');
	ask(q{SELECT count(*) FROM stream_publish('o', 'wake', partition => 1)});
	becomes($node, 'o', $active, 'row security: attached');
	detach('o', 'row security');
	fails_with($node, 'SET ROLE reader; SELECT * FROM o_p1', '42501', 'row security before a detach');
	ask('ALTER TABLE o DISABLE ROW LEVEL SECURITY');
	attach('o', 'owner, schema, rights');
	fails_with($node, 'SET ROLE reader; SELECT * FROM o_p1', '42501', 'an attached table needs no rights');
	is(ask('SET ROLE reader; SELECT count(*) FROM o'), '22', 'the stream has them');
	ask('ALTER TABLE o OWNER TO postgres; DROP TABLE o');
}

# ---- renaming ----

{
	make('x');
	make('y');
	detach('x', 'rename');
	ask('ALTER TABLE x RENAME TO z');
	is(states($node, 'z'), $paused, 'renamed');
	attach('z', 'renamed', renamed => 1);
	detach('z', 'renamed again');
	ask('ALTER TABLE z RENAME TO x');
	ask('ALTER TABLE x RENAME TO z; ALTER TABLE y RENAME TO x');
	is(ask(q{SELECT * FROM stream_check('x')}), '', 'a stream that took the name of a paused one');
	ask('DROP TABLE x, z');
}

# ---- indexes ----

my $indexes = q{SELECT string_agg(indexrelid::text, ' ' ORDER BY indexrelid) FROM pg_index
	WHERE indrelid IN ('ix_p1'::regclass, 'ix_p1_s0'::regclass)};
{
	make('ix');
	ask('CREATE INDEX ix_before ON ix (key)');
	my $there = ask($indexes);
	detach('ix', 'index');
	is(ask($indexes), $there, 'an index stays where it is');
	ask(q{CREATE INDEX ix_key ON ix (key DESC NULLS LAST) WHERE partition >= 0; CREATE UNIQUE INDEX "ix ON x" ON ix (partition, "offset") INCLUDE (key);
		CREATE INDEX ON ix ((lower(key)), ts)});
	my $made = ask($indexes);
	isnt($made, $there, 'CREATE INDEX makes it on the detached table');
	attach('ix', 'indexes');
	is(ask($indexes), $made, 'ATTACH builds none');
	is(ask(q{SELECT count(*) FROM pg_index i WHERE indrelid = 'ix_p1'::regclass
		AND NOT EXISTS (SELECT FROM pg_inherits WHERE inhrelid = indexrelid)}), '0', 'and takes all');
	detach('ix', 'DROP INDEX');
	ask('DROP INDEX ix_before');
	isnt(ask($indexes), $made, 'DROP INDEX takes the one of the detached table');
	ask('DROP INDEX ix_key; DROP INDEX "ix ON x"; DROP INDEX ix_lower_ts_idx');
	is(ask($indexes), '', 'and the others');
	ask('CREATE INDEX ix_again ON ix (key)');
	isnt(ask($indexes), '', 'made while detached');
	ask('DROP INDEX ix_again');
	is(ask($indexes), '', 'and dropped while detached');
	ask('BEGIN; CREATE INDEX ix_back ON ix (key); ROLLBACK');
	is(ask($indexes), '', 'made and rolled back');
	ask('CREATE INDEX ix_reindexed ON ix (key); REINDEX INDEX ix_p1_key_idx');
	attach('ix', 'no index, and one');
	ask('DROP INDEX ix_reindexed');
	is(ask($indexes), '', 'DROP INDEX after ATTACH');

	# A constraint that publishing does not honour.
	detach('ix', 'constraint');
	ask(q{ALTER TABLE ix ADD CONSTRAINT good CHECK (value <> 'bad')});
	fails_with($node, q{SELECT stream_publish('ix', 'bad', partition => 1)}, 'WR009', 'publish to a detached partition under a new constraint');
	fails_with($node, q{SELECT stream_publish('ix', 'bad', partition => 0)}, 'WR009', 'publish to an attached one');
	ask(q{ALTER TABLE ix DROP CONSTRAINT good});
	attach('ix', 'a constraint that has gone');
	ask('DROP TABLE ix');
}

# ---- publications ----

{
	make('pub');
	ask('CREATE PUBLICATION p FOR TABLE pub');
	my ($status, $out, $err) = $node->psql('postgres', q{SELECT * FROM stream_pause('pub', '{1}')});
	like($err, qr{NOTICE:.*stay attached because of publication "p"}, 'a NOTICE');
	settles($node, 'published');
	is(states($node, 'pub'), '0:active/attached 1:paused/attached', 'paused, and attached');
	is(ask(q{SELECT attached_because FROM weir.partitions WHERE stream = 'pub'::regclass AND partition = 1}), 'publication "p"', 'with its reason');
	is(ask(q{SELECT coalesce(attached_because, '-') FROM weir.partitions WHERE stream = 'pub'::regclass AND partition = 0}), '-', 'an active one needs none');
	ask('DROP PUBLICATION p');
	becomes($node, 'pub', $paused, 'detached when the publication is gone');
	is(ask(q{SELECT * FROM stream_check('pub')}), '', 'DROP PUBLICATION: stream_check');
	for my $what ('FOR TABLE pub', 'FOR ALL TABLES', 'FOR TABLES IN SCHEMA public')
	{
		ask("CREATE PUBLICATION p $what");
		becomes($node, 'pub', '0:active/attached 1:paused/attached', "$what: attached again");
		settles($node, "$what: settled");
		ask('DROP PUBLICATION p');
		becomes($node, 'pub', $paused, "$what: and detached");
	}
	ask('CREATE PUBLICATION p');
	ask('ALTER PUBLICATION p ADD TABLE pub');
	becomes($node, 'pub', '0:active/attached 1:paused/attached', 'ALTER PUBLICATION ADD');
	ask('ALTER PUBLICATION p DROP TABLE pub');
	becomes($node, 'pub', $paused, 'ALTER PUBLICATION DROP');
	ask('BEGIN; ALTER PUBLICATION p ADD TABLE pub; ROLLBACK; DROP PUBLICATION p');
	attach('pub', 'publications');

	# What is written when a publication exists reaches its subscribers.
	ask('CREATE PUBLICATION p FOR ALL TABLES WITH (publish_via_partition_root = true)');
	ask(q{SELECT pg_create_logical_replication_slot('slot', 'pgoutput'); SELECT * FROM stream_pause('pub')});
	settles($node, 'paused beside a slot');
	ask(q{SELECT count(*) FROM stream_publish('pub', 'replicated', partition => 1)});
	is(ask(q{SELECT count(*) FROM pg_logical_slot_get_binary_changes('slot', NULL, NULL, 'proto_version', '1', 'publication_names', 'p')
		WHERE position('replicated'::bytea IN data) > 0}), '1', 'a message that resumed is replicated');
	ask(q{SELECT pg_drop_replication_slot('slot'); DROP PUBLICATION p});
	settles($node, 'no publication any more');
	ask('DROP TABLE pub');
}

# ---- foreign keys ----

{
	make('fk');
	ask('CREATE UNIQUE INDEX ON fk (partition, "offset")');
	detach('fk', 'foreign key');
	ask('CREATE TABLE refers (p integer, o bigint, FOREIGN KEY (p, o) REFERENCES fk (partition, "offset"))');
	becomes($node, 'fk', '0:active/attached 1:paused/attached', 'a foreign key attaches it again');
	is(ask(q{SELECT attached_because FROM weir.partitions WHERE stream = 'fk'::regclass AND partition = 1}), 'foreign key "refers_p_o_fkey"', 'with its reason');
	ask('INSERT INTO refers VALUES (1, 3)');
	fails_with($node, 'INSERT INTO refers VALUES (1, 3000)', '23503', 'the key is checked');
	my ($status, $out, $err) = $node->psql('postgres', q{SELECT * FROM stream_pause('fk')});
	like($err, qr{NOTICE:.*stay attached because of foreign key "refers_p_o_fkey"}, 'a NOTICE');
	settles($node, 'referred to');
	is(states($node, 'fk'), '0:paused/attached 1:paused/attached', 'paused, and attached');
	is(ask(q{SELECT * FROM stream_check('fk')}), '', 'foreign key: stream_check');
	ask('DROP TABLE refers');
	becomes($node, 'fk', '0:paused/detached 1:paused/detached', 'detached when the key is gone');
	ask(q{SELECT * FROM stream_resume('fk', wait => true); DROP TABLE fk});
}

# ---- pausing by itself ----

sub auto
{
	my ($stream, $options) = @_;
	ask("SELECT stream_create('$stream', 1, 'text', '{\"auto_pause_after\": \"2 seconds\"$options}')");
	ask("SELECT count(*) FROM stream_publish('$stream', 'first')");
	return;
}
my $since = q{SELECT extract(epoch FROM latest_pause - latest_publish) FROM weir.partitions WHERE stream = '%s'::regclass};
{
	auto('auto', '');
	auto('auto_detach', ', "auto_pause_detach": true');
	auto('auto_busy', '');
	auto('auto_read', ', "auto_pause_with_subscribers": false');
	auto('auto_read_too', '');
	auto('auto_fetch', ', "auto_pause_with_subscribers": false');
	# Busy, or read, while the others fall asleep.
	my $busy = start_pgbench($node, 2, [ '-T' => 5, '-R' => 40 ], 'publish' => "SELECT stream_publish('auto_busy', 'busy');\n",
		'read' => "SELECT count(*) FROM stream_read('auto_read', 0);\nSELECT count(*) FROM stream_read('auto_read_too', 0);\n",
		'fetch' => "SELECT count(*) FROM stream_fetch('auto_fetch', 'g');\n");
	becomes($node, 'auto', '0:paused/attached', 'paused by itself, and attached');
	becomes($node, 'auto_detach', '0:paused/detached', 'auto_pause_detach');
	becomes($node, 'auto_read_too', '0:paused/attached', 'reading does not hold it off');
	is(ask(q{SELECT string_agg(state, ' ') FROM weir.partitions WHERE stream IN ('auto_busy'::regclass, 'auto_read'::regclass, 'auto_fetch'::regclass)}), 'active active active', 'publishing does, and reading and fetching where it is wanted');
	stop_pgbench($busy, 'busy');
	becomes($node, 'auto_busy', '0:paused/attached', 'paused when nobody publishes any more');
	becomes($node, 'auto_read', '0:paused/attached', 'paused when nobody reads any more');
	becomes($node, 'auto_fetch', '0:paused/attached', 'paused when nobody fetches any more');
	for my $stream (qw(auto auto_detach auto_busy))
	{
		my $took = ask(sprintf $since, $stream);
		ok($took >= 2 && $took < 4, "$stream: paused when it is due: $took s");
	}
	is(events($node, 'auto'), 'created auto-paused:0:idle', 'told as what it is');
	is(events($node, 'auto_busy'), 'created auto-paused:0:idle', 'once');
	is(ask(q{SELECT state FROM weir.partitions WHERE stream = 'weir.activity'::regclass}), 'active', 'never the activity log');

	# Who listens, and who is a member of a group, is a subscriber.
	auto($_, ', "auto_pause_with_subscribers": false') for qw(auto_listen auto_member);
	my $listener = $node->background_psql('postgres');
	$listener->query_safe(q{SELECT stream_subscribe('auto_listen')});
	ask(q{SELECT count(*) FROM stream_join('auto_member', 'g', 'one', '1 hour')});
	auto('auto_clock', '');
	becomes($node, 'auto_clock', '0:paused/attached', 'the time has come');
	is(ask(q{SELECT string_agg(state, ' ') FROM weir.partitions WHERE stream IN ('auto_listen'::regclass, 'auto_member'::regclass)}), 'active active', 'but not for these');
	$listener->quit;
	ask(q{SELECT stream_leave('auto_member', 'g', 'one')});
	becomes($node, 'auto_listen', '0:paused/attached', 'paused when nobody listens any more');
	becomes($node, 'auto_member', '0:paused/attached', 'paused when there is no member any more');

	# Right after a restart, by the data.
	ask(q{SELECT count(*) FROM stream_publish('auto', 'again')});
	becomes($node, 'auto', '0:active/attached', 'resumed');
	$node->restart;
	becomes($node, 'auto', '0:paused/attached', 'paused after a restart');
	my $took = ask(sprintf $since, 'auto');
	ok($took >= 2 && $took < 5, "when it is due, by its data: $took s");

	# An explicit pause of what paused by itself.
	ask(q{SELECT * FROM stream_pause('auto')});
	becomes($node, 'auto', '0:paused/detached', 'an explicit pause of it');

	# Not while a transaction that published is open.
	ask(q{SELECT * FROM stream_resume('auto', wait => true)});
	my $open = $node->background_psql('postgres');
	$open->query_safe(q{BEGIN; SELECT count(*) FROM stream_publish('auto', 'open');});
	wait_until($node, sprintf(q{SELECT now() - max(latest_pause) > '4 seconds' AND bool_and(state = 'active') FROM weir.partitions WHERE stream = '%s'::regclass}, 'auto'),
		'not while a publisher is open');
	$open->query_safe('COMMIT;');
	$open->quit;
	becomes($node, 'auto', '0:paused/attached', 'when it has ended');
	is(total($node, 'auto'), '3', 'nothing is lost');
	check_clean($node, 'auto', 'by itself');
}

# A publish beside it.
SKIP:
{
	skip 'needs a build with debug points', 1 if !$points;
	my $gate = $node->background_psql('postgres');
	for my $point ('idle_before_lock', 'idle_paused')
	{
		auto("a_$point", '');
		set_points($node, "$point=error");
		my $log = -s $node->logfile;
		$node->wait_for_log(qr{debug point "$point"}, $log);
		ask("SELECT count(*) FROM stream_publish('a_$point', 'beside')");
		set_points($node, '');
		is(ask("SELECT state FROM weir.partitions WHERE stream = 'a_$point'::regclass"), 'active', "$point: active");
		is(total($node, "a_$point"), '2', "$point: nothing is lost");
		check_clean($node, "a_$point", $point);
		ask("DROP TABLE a_$point");
	}
	$gate->quit;
}
{
	# Publishing just when it is due, again and again.
	ask(q{SELECT stream_create('edge', 1, 'text', '{"auto_pause_after": "1 second", "auto_pause_detach": true}')});
	my $edge = start_pgbench($node, 4, [ '-T' => 8 ], 'publish' => "\\set ms random(980, 1060)\nSELECT stream_publish('edge', 'e');\n\\sleep :ms ms\n");
	my $n = stop_pgbench($edge, 'at the edge');
	is(total($node, 'edge'), $n, 'at the edge: each once');
	my $one = start_pgbench($node, 1, [ '-T' => 6 ], 'publish' => "\\set ms random(990, 1030)\nSELECT stream_publish('edge', 'e');\n\\sleep :ms ms\n");
	$n += stop_pgbench($one, 'at the edge, alone');
	is(total($node, 'edge'), $n, 'at the edge, alone: each once');
	ask(q{SELECT stream_alter('edge', '{"auto_pause_after": null}'); SELECT * FROM stream_resume('edge')});
	settles($node, 'at the edge: settled');
	check_clean($node, 'edge', 'at the edge');
	log_is_sane($node, 'edge', 'at the edge');
}

is(ask(q{SELECT * FROM stream_check('weir.activity')}), '', 'the activity log');
$node->stop;
ended_well($node);
done_testing();
