# Lint.pm: what the rules of lint share: finding files, blanking out comments
# and strings so that line numbers stay, telling what was found.
package Lint;

use strict;
use warnings;
use Exporter 'import';
use File::Find ();

our @EXPORT = qw(files content blank_c blank_sql line_of found finish);

my $found = 0;

# The files below some folders whose path matches, sorted.
sub files
{
	my ($pattern, @folders) = @_;
	my @files;
	File::Find::find(
		{   no_chdir => 1,
			wanted => sub { push @files, $_ if -f && m{$pattern} } },
		grep { -e } @folders);
	return sort @files;
}

sub content
{
	my ($file) = @_;
	open my $in, '<', $file or die "$file: $!\n";
	local $/;
	return scalar(<$in>) // '';
}

sub blank
{
	my ($text) = @_;
	$text =~ s/[^\n]/ /g;
	return $text;
}

# C without comments; strings stay, they may hold what a rule looks for.
sub blank_c
{
	my ($text) = @_;
	$text =~ s{("(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*')|(/\*.*?\*/|//[^\n]*)}{$1 // blank($2)}ges;
	return $text;
}

# SQL without comments and without the insides of '' strings; bodies in
# dollar quotes stay.
sub blank_sql
{
	my ($text) = @_;
	$text =~ s{("[^"]*")|('(?:''|[^'])*')|(--[^\n]*|/\*.*?\*/)}
		{defined $1 ? $1 : defined $2 ? "'" . blank(substr($2, 1, -1)) . "'" : blank($3)}ges;
	return $text;
}

sub line_of
{
	my ($text, $position) = @_;
	return 1 + (substr($text, 0, $position) =~ tr/\n//);
}

sub found
{
	my ($file, $line, $what) = @_;
	print "$file:$line: $what\n";
	$found = 1;
}

sub finish { exit $found }

1;
