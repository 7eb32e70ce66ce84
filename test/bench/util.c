/*
 * util.c
 *		What the load client needs of the machine: memory, clock, bytes,
 *		latencies, CPU time and memory of processes, speed of fsync.
 */
#include "load.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

void
die(const char *format,...)
{
	va_list		args;

	fflush(stdout);
	fputs("load: ", stderr);
	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
	fputc('\n', stderr);
	exit(1);
}

void *
grow(void *old, size_t size)
{
	void	   *new = realloc(old, size);

	if (new == NULL)
		die("out of memory (%zu bytes)", size);
	return new;
}

uint64_t
now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t) t.tv_sec * 1000000000 + (uint64_t) t.tv_nsec;
}

/* xorshift64*; the seed is fixed, so that all sides get the same numbers. */
uint64_t
random_below(uint64_t limit)
{
	static uint64_t state = UINT64_C(0x9E3779B97F4A7C15);

	state ^= state >> 12;
	state ^= state << 25;
	state ^= state >> 27;
	return (state * UINT64_C(0x2545F4914F6CDD1D) >> 11) % limit;
}

static char *
reserve(Buffer *b, size_t len)
{
	if (b->len + len > b->size)
	{
		b->size = (b->len + len) * 2;
		b->data = grow(b->data, b->size);
	}
	b->len += len;
	return b->data + b->len - len;
}

void
put_bytes(Buffer *b, const void *data, size_t len)
{
	memcpy(reserve(b, len), data, len);
}

void
put_int16(Buffer *b, uint16_t value)
{
	unsigned char bytes[2] = {value >> 8, value & 0xff};

	put_bytes(b, bytes, sizeof(bytes));
}

void
put_int32(Buffer *b, uint32_t value)
{
	put_int16(b, value >> 16);
	put_int16(b, value & 0xffff);
}

void
put_int64(Buffer *b, uint64_t value)
{
	put_int32(b, value >> 32);
	put_int32(b, value & 0xffffffff);
}

/* Formatted text of moderate length, without a terminating zero. */
void
put_format(Buffer *b, const char *format,...)
{
	char		text[1024];
	va_list		args;
	int			len;

	va_start(args, format);
	len = vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	if (len < 0 || (size_t) len >= sizeof(text))
		die("text is too long: %s", text);
	put_bytes(b, text, (size_t) len);
}

uint64_t
get_int64(const char *data)
{
	uint64_t	value = 0;

	for (int i = 0; i < 8; i++)
		value = value << 8 | (unsigned char) data[i];
	return value;
}

void
add_sample(Samples *s, uint64_t ns)
{
	if (s->len == s->size)
	{
		s->size = s->size ? s->size * 2 : 65536;
		s->ns = grow(s->ns, s->size * sizeof(*s->ns));
	}
	s->ns[s->len++] = ns;
}

static int
compare_ns(const void *a, const void *b)
{
	uint64_t	x = *(const uint64_t *) a;
	uint64_t	y = *(const uint64_t *) b;

	return (x > y) - (x < y);
}

/* The sample below which this fraction of them lies, in microseconds. */
double
sample_us(Samples *s, double fraction)
{
	size_t		i = (size_t) (fraction * (double) s->len);

	if (s->len == 0)
		die("nothing was measured");
	qsort(s->ns, s->len, sizeof(*s->ns), compare_ns);
	return (double) s->ns[i < s->len ? i : s->len - 1] / 1000;
}

/*
 * Fields 4 (parent) and 14 to 17 (times) of /proc/PID/stat; false if the
 * process is gone.
 */
static bool
read_stat(int pid, int *parent, unsigned long *own, unsigned long *children)
{
	char		path[64];
	char		line[1024];
	unsigned long t[4];
	char	   *p;
	FILE	   *f;
	size_t		len;

	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	f = fopen(path, "r");
	if (f == NULL)
		return false;
	len = fread(line, 1, sizeof(line) - 1, f);
	fclose(f);
	line[len] = '\0';
	/* The name of the command may contain anything. */
	p = strrchr(line, ')');
	if (p == NULL ||
		sscanf(p + 1, " %*c %d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu %lu %lu",
			   parent, &t[0], &t[1], &t[2], &t[3]) != 5)
		return false;
	*own = t[0] + t[1];
	*children = t[2] + t[3];
	return true;
}

int
parent_of(int pid)
{
	int			parent;
	unsigned long own;
	unsigned long children;

	if (!read_stat(pid, &parent, &own, &children))
		die("could not read /proc/%d/stat", pid);
	return parent;
}

/*
 * CPU seconds, user and system, that a process and its children have used up
 * to now: of the living ones, and of those that it has waited for.
 */
double
cpu_of_family(int pid)
{
	unsigned long own;
	unsigned long children;
	unsigned long sum;
	int			parent;
	DIR		   *dir = opendir("/proc");
	struct dirent *entry;

	if (dir == NULL || !read_stat(pid, &parent, &own, &children))
		die("could not read /proc: %s", strerror(errno));
	sum = own + children;
	while ((entry = readdir(dir)) != NULL)
	{
		if (isdigit((unsigned char) entry->d_name[0]) &&
			read_stat(atoi(entry->d_name), &parent, &own, &children) &&
			parent == pid)
			sum += own + children;
	}
	closedir(dir);
	return (double) sum / (double) sysconf(_SC_CLK_TCK);
}

static double
cpu_of(int who)
{
	struct rusage u;

	getrusage(who, &u);
	return (double) (u.ru_utime.tv_sec + u.ru_stime.tv_sec) +
		(double) (u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6;
}

double
cpu_of_self(void)
{
	return cpu_of(RUSAGE_SELF);
}

double
cpu_of_children(void)
{
	return cpu_of(RUSAGE_CHILDREN);
}

/* CPU seconds that all processes and interrupts of the machine have used. */
double
cpu_of_machine(void)
{
	unsigned long t[7];
	FILE	   *f = fopen("/proc/stat", "r");

	/* user nice system idle iowait irq softirq */
	if (f == NULL ||
		fscanf(f, "cpu %lu %lu %lu %lu %lu %lu %lu",
			   &t[0], &t[1], &t[2], &t[3], &t[4], &t[5], &t[6]) != 7)
		die("could not read /proc/stat: %s", strerror(errno));
	fclose(f);
	return (double) (t[0] + t[1] + t[2] + t[5] + t[6]) / (double) sysconf(_SC_CLK_TCK);
}

/* Private memory of a process in kB: without shared buffers and files. */
long
anonymous_memory(int pid)
{
	char		path[64];
	char		line[256];
	long		kb = -1;
	FILE	   *f;

	snprintf(path, sizeof(path), "/proc/%d/status", pid);
	f = fopen(path, "r");
	if (f == NULL)
		die("could not read %s: %s", path, strerror(errno));
	while (fgets(line, sizeof(line), f) != NULL)
		if (sscanf(line, "RssAnon: %ld", &kb) == 1)
			break;
	fclose(f);
	if (kb < 0)
		die("%s has no RssAnon", path);
	return kb;
}

/* What a commit costs at least: 8 kB written and fdatasync, in a file of 16 MB. */
void
measure_fsync(const char *directory)
{
	static char block[8192];
	char		path[4096];
	Samples		samples = {0};
	int			fd;

	snprintf(path, sizeof(path), "%s/fsync.probe", directory);
	fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);
	if (fd < 0)
		die("could not create %s: %s", path, strerror(errno));
	unlink(path);
	memset(block, 'x', sizeof(block));
	for (int i = 0; i < 2048; i++)
		if (write(fd, block, sizeof(block)) != (ssize_t) sizeof(block))
			die("could not write %s: %s", path, strerror(errno));
	fsync(fd);
	for (int i = 0; i < 200; i++)
	{
		uint64_t	start = now_ns();

		if (pwrite(fd, block, sizeof(block), (off_t) i * (off_t) sizeof(block)) != (ssize_t) sizeof(block) ||
			fdatasync(fd) != 0)
			die("could not write %s: %s", path, strerror(errno));
		add_sample(&samples, now_ns() - start);
	}
	close(fd);
	printf("fsync_p50_us=%.0f\tfsync_p99_us=%.0f\n",
		   sample_us(&samples, 0.5), sample_us(&samples, 0.99));
}
