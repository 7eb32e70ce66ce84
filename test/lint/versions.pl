# versions: only src/base/compat.h knows that PostgreSQL has versions.
use strict;
use warnings;
use Lint;

for my $file (grep { $_ ne 'src/base/compat.h' } files(qr{\.[ch]$}, 'src'))
{
	my $text = blank_c(content($file));
	while ($text =~ m{\bPG_(?:VERSION_NUM|MAJORVERSION(?:_NUM)?)\b}g)
	{
		found($file, line_of($text, $-[0]), "$& outside src/base/compat.h");
	}
}
finish();
