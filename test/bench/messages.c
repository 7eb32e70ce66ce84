/*
 * messages.c
 *		The messages that are published, the same on every side: a key of 16
 *		bytes out of a thousand, a value of 100 bytes of printable text (so that
 *		sides that know only text can take it), no headers.  A pool of them is
 *		made once; here they are also put in the forms that servers take:
 *		binary arrays and rows of COPY binary.  Where each message is to be
 *		known again, its value begins with its number.
 */
#include "load.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define POOL			10000

/* 2000-01-01 in Unix time: where timestamptz begins. */
#define POSTGRES_EPOCH	INT64_C(946684800)

/* A row with own offsets: fields, partition, "offset", ts, key, value. */
#define COPY_ROW_SIZE	(2 + 8 + 12 + 12 + 4 + KEY_SIZE + 4 + VALUE_SIZE)
#define COPY_OFFSET_AT	(2 + 8 + 4)

static char keys[POOL][KEY_SIZE + 1];
static char values[POOL][VALUE_SIZE];
static bool numbered;

void
make_messages(void)
{
	static const char letters[] = "abcdefghijklmnopqrstuvwxyz0123456789";

	for (int i = 0; i < POOL; i++)
	{
		snprintf(keys[i], sizeof(keys[i]), "key-%012u", (unsigned) random_below(KEYS));
		for (int j = 0; j < VALUE_SIZE; j++)
			values[i][j] = letters[random_below(sizeof(letters) - 1)];
	}
}

const char *
message_key(unsigned i)
{
	return keys[i % POOL];
}

/* From here on values begin with the number of their message. */
void
number_messages(void)
{
	numbered = true;
}

/* Good until the next call. */
const char *
message_value(unsigned i)
{
	static char value[VALUE_SIZE];

	if (!numbered)
		return values[i % POOL];
	memcpy(value, values[i % POOL], VALUE_SIZE);
	value[snprintf(value, VALUE_SIZE, "%010u", i)] = ':';
	return value;
}

long
message_number(const char *value)
{
	char	   *end;
	long		number = strtol(value, &end, 10);

	if (end != value + 10 || *end != ':')
		die("a value that was not published: %.20s", value);
	return number;
}

/* For servers that leave it to the client which partition a key goes to. */
unsigned
key_partition(unsigned i, int partitions)
{
	const char *key = message_key(i);
	unsigned	hash = 2166136261u;

	for (int j = 0; j < KEY_SIZE; j++)
		hash = (hash ^ (unsigned char) key[j]) * 16777619u;
	return hash % (unsigned) partitions;
}

static void
put_array_header(Buffer *b, uint32_t type, int count)
{
	put_int32(b, 1);			/* dimensions */
	put_int32(b, 0);			/* no NULLs */
	put_int32(b, type);
	put_int32(b, (uint32_t) count);
	put_int32(b, 1);			/* lower bound */
}

void
put_value_array(Buffer *b, uint32_t type, unsigned first, int count)
{
	put_array_header(b, type, count);
	for (int i = 0; i < count; i++)
	{
		put_int32(b, VALUE_SIZE);
		put_bytes(b, message_value(first + (unsigned) i), VALUE_SIZE);
	}
}

void
put_key_array(Buffer *b, unsigned first, int count)
{
	put_array_header(b, OID_TEXT, count);
	for (int i = 0; i < count; i++)
	{
		put_int32(b, KEY_SIZE);
		put_bytes(b, message_key(first + (unsigned) i), KEY_SIZE);
	}
}

void
put_copy_header(Buffer *b)
{
	put_bytes(b, "PGCOPY\n\377\r\n\0", 11);
	put_int32(b, 0);			/* flags */
	put_int32(b, 0);			/* extension */
}

/* Rows (partition, key, value), or (partition, "offset", ts, key, value). */
void
put_copy_rows(Buffer *b, unsigned first, int count, int64_t offset, bool own_offsets)
{
	struct timespec t;
	int64_t		ts;

	clock_gettime(CLOCK_REALTIME, &t);
	ts = ((int64_t) t.tv_sec - POSTGRES_EPOCH) * 1000000 + t.tv_nsec / 1000;
	for (int i = 0; i < count; i++)
	{
		put_int16(b, own_offsets ? 5 : 3);
		put_int32(b, 4);
		put_int32(b, 0);
		if (own_offsets)
		{
			put_int32(b, 8);
			put_int64(b, (uint64_t) (offset + i));
			put_int32(b, 8);
			put_int64(b, (uint64_t) ts);
		}
		put_int32(b, KEY_SIZE);
		put_bytes(b, message_key(first + (unsigned) i), KEY_SIZE);
		put_int32(b, VALUE_SIZE);
		put_bytes(b, message_value(first + (unsigned) i), VALUE_SIZE);
	}
}

/* Gives rows made by put_copy_rows() with own offsets the offsets from here on. */
void
set_copy_offsets(char *rows, int count, int64_t offset)
{
	for (int i = 0; i < count; i++)
	{
		uint64_t	value = (uint64_t) (offset + i);
		char	   *p = rows + (size_t) i * COPY_ROW_SIZE + COPY_OFFSET_AT;

		for (int j = 7; j >= 0; j--)
		{
			p[j] = (char) (value & 0xff);
			value >>= 8;
		}
	}
}

void
put_copy_trailer(Buffer *b)
{
	put_int16(b, 0xffff);
}
