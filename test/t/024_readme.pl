# The examples of README.md that say so are run, as they stand there.
#
#   <!-- test: NAME -->            the fenced block that follows belongs to the
#                                  scenario NAME: ```sql, ```sh or ```python
#   <!-- test: NAME sql            a block that readers do not see, up to a line
#   ...                            with --> alone; its language is named
#   -->
#   <!-- test: NAME expect         what the block before it must have said: each
#   ...                            line is a regular expression, all must match
#   -->
#
# The blocks of a scenario run in order, those of SQL in one session of psql that
# stops at the first error, in a database of its own that has the extension.
# The others find that database by PGHOST, PGPORT, PGUSER and PGDATABASE.
use strict;
use warnings FATAL => 'all';

use IPC::Run ();
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use WeirTest;

# Debian's, which has Debian's python3-psycopg, before any other.
my $python = -x '/usr/bin/python3' ? '/usr/bin/python3' : 'python3';

# The blocks of a text, in order: { name, language, text, line }.
sub blocks_of
{
	my ($text) = @_;
	my @lines = split /\n/, $text;
	my @blocks;
	for (my $i = 0; $i < @lines; $i++)
	{
		next unless $lines[$i] =~ m{^<!-- test: ([\w-]+)(?: (\w+))?( -->)?$};
		my ($name, $language, $closed) = ($1, $2, $3);
		my $end = qr{^-->$};
		my $line = $i + 1;
		if ($closed)
		{
			die "line $line: a fenced block must follow\n"
			  if defined $language || ++$i >= @lines || $lines[$i] !~ m{^```(\w+)$};
			$language = $1;
			$end = qr{^```$};
		}
		die "line $line: unknown language\n"
		  if !defined $language || $language !~ m{^(?:sql|sh|python|expect)$};
		my @inner;
		push @inner, $lines[$i] while ++$i < @lines && $lines[$i] !~ $end;
		die "line $line: the block has no end\n" if $i >= @lines;
		push @blocks, { name => $name, language => $language, line => $line, text => join("\n", @inner) . "\n" };
	}
	return @blocks;
}

# psql that is fed block by block.
sub open_session
{
	my ($env) = @_;
	my $s = { in => '', out => '', err => '', blocks => 0 };
	local %ENV = (%ENV, %$env);
	$s->{timer} = IPC::Run::timeout($PostgreSQL::Test::Utils::timeout_default);
	$s->{run} = IPC::Run::start([ 'psql', '-XAtq', '-v', 'ON_ERROR_STOP=1', '-f', '-' ],
		'<', \$s->{in}, '>', \$s->{out}, '2>', \$s->{err}, $s->{timer});
	return $s;
}

# (did it run to its end, what it said)
sub run_sql
{
	my ($s, $text) = @_;
	my $mark = 'end of block ' . ++$s->{blocks};
	$s->{out} = $s->{err} = '';
	# By a statement: one that the block has left unfinished then fails.
	$s->{in} .= "$text\nSELECT '$mark';\n";
	my $ok = eval {
		IPC::Run::pump($s->{run}) until $s->{out} =~ m{^$mark$}m || !$s->{run}->pumpable;
		1;
	};
	my $why = $ok ? '' : $@;
	$ok &&= $s->{out} =~ s{^$mark\n}{}m;
	return ($ok, "$s->{out}$s->{err}$why");
}

sub run_program
{
	my ($env, $text, @command) = @_;
	my $said = '';
	local %ENV = (%ENV, %$env);
	my $ok = eval {
		IPC::Run::run([@command], '<', \$text, '>', \$said, '2>&1',
			IPC::Run::timeout($PostgreSQL::Test::Utils::timeout_default));
	};
	return ($ok, $said . ($@ // ''));
}

# The blocks of one scenario; a list of [ok, name, what it said].
sub run_scenario
{
	my ($node, $database, @blocks) = @_;
	my %env = (PGHOST => $node->host, PGPORT => $node->port, PGDATABASE => $database,
		PGUSER => $node->safe_psql('postgres', 'SELECT current_user'));
	my $session = open_session(\%env);
	my $said = '';
	my @results;
	for my $block (@blocks)
	{
		my $ok;
		my $language = $block->{language};
		my $name = "line $block->{line}: $language";
		if ($language eq 'expect')
		{
			for my $pattern (split /\n/, $block->{text})
			{
				push @results, [ scalar($said =~ m{$pattern}m), "$name: $pattern", $said ];
			}
			next;
		}
		($ok, $said) =
			$language eq 'sql' ? run_sql($session, $block->{text})
		  : $language eq 'sh' ? run_program(\%env, $block->{text}, 'sh', '-eu')
		  : run_program(\%env, $block->{text}, $python, '-');
		push @results, [ $ok, $name, $said ];
		last if !$ok;
	}
	eval { $session->{in} .= "\\q\n"; IPC::Run::finish($session->{run}) };
	return @results;
}

# Each scenario's database has a keeper, some have a notifier.
my $node = weir_node('readme', extension => 0, conf => <<'CONF');
shared_preload_libraries = 'weir'
max_prepared_transactions = 5
max_worker_processes = 40
CONF
my %made;

sub make_database
{
	my ($name) = @_;
	$node->safe_psql('postgres', "CREATE DATABASE \"$name\"");
	$node->safe_psql($name, 'CREATE EXTENSION weir');
	return $name;
}

# That it would notice.
{
	my @b = blocks_of(<<'END');
text
<!-- test: one sql
SELECT 1 AS x \gset
-->
```sql
not run
```
<!-- test: one -->
```sql
SELECT :x + 1,
       'a';
```
<!-- test: two -->
```sh
echo "db: $PGDATABASE"; psql -XAtc 'SELECT 41 + 1'
```
<!-- test: one expect
^2\|a$
-->
END
	is(join(' ', map { "$_->{name}/$_->{language}/$_->{line}" } @b), 'one/sql/2 one/sql/8 two/sh/13 one/expect/17', 'blocks are found');
	for my $bad ("<!-- test: x -->\ntext", "<!-- test: x -->\n```sql\nSELECT 1;", "<!-- test: x cobol\n-->", "<!-- test: x sql\nSELECT 1;")
	{
		ok(!eval { blocks_of($bad); 1 }, 'malformed: ' . ($@ =~ s{\n}{}r));
	}
	make_database('self');
	my @r = run_scenario($node, 'self', grep { $_->{name} eq 'one' } @b);
	is(join(' ', map { $_->[0] ? 'ok' : "failed: $_->[2]" } @r), 'ok ok ok', 'blocks share a session');
	@r = run_scenario($node, 'self', grep { $_->{name} eq 'two' } @b);
	ok($r[0][0], 'a block of sh');
	is($r[0][2], "db: self\n42\n", 'finds the database');
	for my $bad ([ 'sql', 'SELECT 1/0; SELECT 2;', 'division by zero' ], [ 'sql', 'SELECT stream_publish(', '.*' ],
		[ 'sh', 'false; true', '' ], [ 'python', 'import nothing_of_this_name', 'nothing_of_this_name' ])
	{
		my ($language, $text, $like) = @$bad;
		local $PostgreSQL::Test::Utils::timeout_default = 5;
		@r = run_scenario($node, 'self', { name => 'bad', language => $language, line => 1, text => "$text\n" },
			{ name => 'bad', language => 'sql', line => 2, text => "SELECT 1;\n" });
		is(scalar(@r), 1, "$language: nothing runs after a failure");
		ok(!$r[0][0], "$language: noticed: $text");
		like($r[0][2], qr{$like}, "$language: with what it said");
	}
	@r = run_scenario($node, 'self', { name => 'bad', language => 'sql', line => 1, text => "SELECT 1;\n" },
		{ name => 'bad', language => 'expect', line => 2, text => "^2\$\n^1\$\n" });
	is(join(' ', map { $_->[0] ? 'ok' : 'failed' } @r), 'ok failed ok', 'what was expected is looked for');
}

my @blocks = blocks_of(slurp_file('README.md'));
cmp_ok(scalar(@blocks), '>', 0, 'README.md has examples that are run');
my $has_psycopg = (run_program({}, "import psycopg\n", $python, '-'))[0];
my %seen;
for my $name (grep { !$seen{$_}++ } map { $_->{name} } @blocks)
{
	my @own = grep { $_->{name} eq $name } @blocks;
  SKIP:
	{
		skip "$name: python3-psycopg is not installed", 1
		  if !$has_psycopg && grep { $_->{language} eq 'python' } @own;
		for my $result (run_scenario($node, make_database("readme $name"), @own))
		{
			my ($ok, $what, $said) = @$result;
			ok($ok, "$name: $what") or diag $said;
		}
	}
}

no_alarms($node);
done_testing();
