-- The extension itself: what it makes, what it grants, what it leaves behind.
CREATE EXTENSION weir;

-- The interface: functions for people, in the schema of the extension.
SELECT p.proname, pg_get_function_arguments(p.oid) AS arguments, pg_get_function_result(p.oid) AS result
  FROM pg_proc p JOIN pg_depend d ON d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e'
  JOIN pg_extension e ON e.oid = d.refobjid AND e.extname = 'weir'
 WHERE p.pronamespace = 'public'::regnamespace
 ORDER BY p.proname COLLATE "C", pg_get_function_arguments(p.oid) COLLATE "C";

-- What reads may run beside parallel workers only in the leader, what writes may not.
SELECT proname, provolatile, proparallel, count(*)
  FROM pg_proc WHERE proname LIKE 'stream\_%' AND pronamespace = 'public'::regnamespace
 GROUP BY 1, 2, 3 ORDER BY proname COLLATE "C";

-- The catalog.
SELECT relname, relkind FROM pg_class
 WHERE relnamespace = 'weir'::regnamespace AND relkind IN ('r', 'v', 'S', 'p')
 ORDER BY relname COLLATE "C";
\d weir.streams
\d weir.partitions
\d weir.segments
\d weir.workers

-- Dumped are the rows of streams, partitions and segments, not the marks of verified files.
SELECT c::regclass FROM pg_extension e, unnest(e.extconfig) c WHERE e.extname = 'weir' ORDER BY c::regclass::text COLLATE "C";

-- Everything has a comment.
SELECT pg_describe_object(d.classid, d.objid, 0) AS no_comment
  FROM pg_depend d JOIN pg_extension e ON e.oid = d.refobjid AND e.extname = 'weir'
 WHERE d.deptype = 'e' AND d.classid IN ('pg_proc'::regclass, 'pg_class'::regclass, 'pg_namespace'::regclass)
   AND obj_description(d.objid, d.classid::regclass::text) IS NULL;

-- To everybody: reading the catalog, and of its functions only those that check for themselves.
SELECT p.oid::regprocedure AS for_everybody FROM pg_proc p
 WHERE p.pronamespace = 'weir'::regnamespace
   AND EXISTS (SELECT FROM aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) WHERE grantee = 0)
 ORDER BY p.oid::regprocedure::text COLLATE "C";
SELECT c.relname, string_agg(privilege_type, ',' ORDER BY privilege_type) AS for_everybody
  FROM pg_class c, aclexplode(c.relacl) a
 WHERE c.relnamespace = 'weir'::regnamespace AND a.grantee = 0
 GROUP BY 1 ORDER BY c.relname COLLATE "C";

-- Workers are shown to monitors; without preloading there are none.
SELECT c.relname FROM pg_class c
 WHERE c.relnamespace = 'weir'::regnamespace AND has_table_privilege('pg_monitor', c.oid, 'SELECT')
   AND NOT EXISTS (SELECT FROM aclexplode(c.relacl) WHERE grantee = 0)
 ORDER BY c.relname COLLATE "C";
SET ROLE pg_monitor;
SELECT count(*) FROM weir.workers;
RESET ROLE;

-- The options that a stream can have.
SELECT name, value FROM weir.default_options() ORDER BY name COLLATE "C";
SELECT count(*) AS without_description FROM weir.default_options() WHERE coalesce(description, '') = '';

-- The install script trusts no search path: every function of C code is pinned to the library.
SELECT count(*) AS elsewhere FROM pg_proc p JOIN pg_depend d ON d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e'
  JOIN pg_extension e ON e.oid = d.refobjid AND e.extname = 'weir'
 WHERE p.probin IS DISTINCT FROM '$libdir/weir';

-- Without a stream it goes without CASCADE, and leaves nothing.
SHOW weir.track_append_hold;
DROP EXTENSION weir;
SELECT count(*) FROM pg_namespace WHERE nspname = 'weir';
SELECT count(*) FROM pg_event_trigger WHERE evtname LIKE 'weir%';

-- The functions may be put into another schema.
CREATE SCHEMA elsewhere;
CREATE EXTENSION weir SCHEMA elsewhere;
SELECT elsewhere.stream_create('public.s');
SELECT * FROM elsewhere.stream_publish('s', '1'::jsonb);
SELECT "offset", value FROM elsewhere.stream_read('s');
SELECT elsewhere.stream_drop('s');
DROP EXTENSION weir;
DROP SCHEMA elsewhere;

-- For all tests that follow.
CREATE EXTENSION weir;
