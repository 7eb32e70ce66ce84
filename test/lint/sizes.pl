# sizes: files of at most 800 lines, functions of at most 80.
use strict;
use warnings;
use Lint;

use constant { FILE => 800, FUNCTION => 80 };

for my $file (files(qr{\.(?:[ch]|sql|spec|pl|pm|sh|py)$}, qw(src test)))
{
	my @lines = content($file) =~ m{^(.*)$}mg;
	found($file, FILE + 1, scalar(@lines) . ' lines, more than ' . FILE) if @lines > FILE;
	next if $file !~ m{^src/.*\.c$};

	# A function is what lies between braces in the first column; the brace
	# that closes a struct has something after it.
	my $start;
	for my $i (0 .. $#lines)
	{
		$start = $i if $lines[$i] =~ m{^\{};
		next if !defined $start || $lines[$i] !~ m{^\}};
		my $length = $i - $start + 1;
		found($file, $start + 1, "a function of $length lines, more than " . FUNCTION)
			if $lines[$i] =~ m{^\}\s*$} && $length > FUNCTION;
		undef $start;
	}
}
finish();
