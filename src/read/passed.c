/*
 * passed.c
 *		Remembering a long dead tail, so as not to walk it at each poll.
 *
 * A reader that stands before a million rolled-back messages may not move its
 * position past them: once VACUUM has forgotten them their offsets are given
 * again.  So every poll would walk them again.  A backend therefore keeps,
 * for a few heaps, "from this offset on there is nothing but aborted messages
 * up to and including this page".  Aborted stays aborted for every snapshot;
 * what can change is the heap: VACUUM may cut the page off, and new messages
 * may then lie where it was.  The page then has another LSN, so the note is
 * good only while the LSN is the same.  The heap's last page is never noted:
 * it is still being filled.  Only WAL-logged heaps have LSNs.
 */
#include "postgres.h"

#include "base/compat.h"
#include "read/passed.h"
#include "storage/bufmgr.h"
#include "utils/rel.h"

#define NOTES	16

typedef struct Note
{
	Oid			segment;
	Oid			file_number;
	int64		from;
	BlockNumber block;
	XLogRecPtr	lsn;
} Note;

static Note notes[NOTES];

static Note *
note_of(Relation segment)
{
	return &notes[RelationGetRelid(segment) % NOTES];
}

/* All messages from an offset on, up to the end of this page, are aborted. */
void
weir_passed_note(Relation segment, int64 from, BlockNumber block,
				 BlockNumber nblocks, XLogRecPtr lsn)
{
	Note	   *note = note_of(segment);

	if (block + 1 >= nblocks || !RelationNeedsWAL(segment) ||
		XLogRecPtrIsInvalid(lsn))
		return;
	note->segment = RelationGetRelid(segment);
	note->file_number = weir_file_number(segment);
	note->from = from;
	note->block = block;
	note->lsn = lsn;
}

/* The last page that need not be read again, if there is one. */
bool
weir_passed_get(Relation segment, int64 from, BlockNumber nblocks,
				BlockNumber *block)
{
	Note	   *note = note_of(segment);
	Buffer		buffer;
	XLogRecPtr	lsn;

	if (note->segment != RelationGetRelid(segment) ||
		note->file_number != weir_file_number(segment) ||
		note->from != from || note->block + 1 >= nblocks)
		return false;
	buffer = ReadBuffer(segment, note->block);
	LockBuffer(buffer, BUFFER_LOCK_SHARE);
	lsn = BufferGetLSNAtomic(buffer);
	UnlockReleaseBuffer(buffer);
	if (lsn != note->lsn)
		return false;
	*block = note->block;
	return true;
}
