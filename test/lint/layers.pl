# layers: a file includes headers of its own folder or of lower layers only.
#
# src/*.c may include everything; src/client knows libpq and nothing of the
# server.  "catalog/x.h" is ours if src/catalog/x.h exists, else PostgreSQL's.
use strict;
use warnings;
use Lint;

my @layers = qw(base catalog stream append read life group query worker);
my %height = map { $layers[$_] => $_ } 0 .. $#layers;

for my $file (files(qr{\.[ch]$}, 'src'))
{
	my ($folder) = $file =~ m{^src/([^/]+)/};
	next if !defined $folder;
	if ($folder ne 'client' && !exists $height{$folder})
	{
		found($file, 1, "folder $folder is none of the layers @layers");
		next;
	}

	my $text = blank_c(content($file));
	while ($text =~ m{^[ \t]*#[ \t]*include[ \t]*([<"])([^>"]+)[>"]}mg)
	{
		my ($quote, $header, $line) = ($1, $2, line_of($text, $-[0]));
		my $own = -e "src/$folder/$header";

		if ($folder eq 'client')
		{
			my $allowed = $own || $header =~ m{^client/} || $header eq 'libpq-fe.h';
			$allowed ||= $quote eq '<' && $header !~ m{^postgres};
			found($file, $line, "client includes $header; it may include libpq-fe.h only") if !$allowed;
			next;
		}
		if ($header =~ m{\.\.})
		{
			found($file, $line, "$header: include by folder, as in \"base/compat.h\"");
			next;
		}
		next if $own || !-e "src/$header";
		my ($target) = $header =~ m{^([^/]+)/};
		if (!defined $target || !exists $height{$target})
		{
			found($file, $line, "layer $folder includes $header, which belongs to no layer of the server");
		}
		elsif ($height{$target} > $height{$folder})
		{
			found($file, $line, "layer $folder includes $header of the higher layer $target");
		}
	}
}
finish();
