-- What is installed (standard input: package:architecture status version, as
-- dpkg-query prints it) into the table installed; names as in load_packages.sql.
CREATE TEMP TABLE line (raw text);
\copy line (raw) FROM pstdin WITH (FORMAT csv, DELIMITER E'\001', QUOTE E'\002')

CREATE TABLE installed AS
SELECT regexp_replace(word[1], ':(all|' || :'native' || ')?$', '') AS package,
	   word[2] AS status,
	   nullif(word[3], '') AS version
  FROM line, regexp_split_to_array(raw, ' ') word
 WHERE word[2] <> 'not-installed';
