// SPDX-License-Identifier: MIT OR Apache-2.0

// What calls on files cost, on a file system that is fast enough not to matter: tmpfs.
//
//   io_write_1, io_write_4k, io_write_1m   write(2) of so many bytes over what a file has there already
//   io_seq_write   a new file is written from beginning to end, 1 MiB at a time
//   io_seq_read    and read
//   io_stat        stat(2) of a file
//   io_open_close  open(2) of a file, for reading, and close(2)
//
// On an isle Linux makes these calls for the program, so this is the price of having it asked to. As in "basic", a
// batch of operations is timed and divided by their number, often (-r), and the median is the result; files as
// a whole (-s) are written and read a few times only. The last bytes of what was read are compared.
//
// Each operation takes its bytes from another place than the one before. Where memory of the program and of the file lie
// a multiple of an emulator's TLB apart, copying takes fifty times as long; in that way only few copies are hit.

#include "bench.h"

#include <fcntl.h>
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const char synopsis[] =
    "usage: io [-m] [-r REPETITIONS] [-s MIB] [-d FOLDER] [-t TEST]... [-l]\n"
    "  -m  lines for a program to read\n"
    "  -r  batches of each test, of which the median counts (default 51; 3 for whole files)\n"
    "  -s  MiB of a whole file (default 1024)\n"
    "  -d  where files are made (default /tmp)\n"
    "  -t  only this test\n"
    "  -l  list the tests\n";

enum { MIB = 1 << 20, MAX_ONLY = 16, PAGE = 4096, SHIFTS = 61, BUFFER = MIB + SHIFTS * PAGE };

/* What is written, and where it is read to. */
static char *data, *copy;
static char path[PATH_MAX];
static int file;
static long file_mib = 1024;
/* Where in it the last write had its bytes. */
static long written_from;

/* Where in the buffer the next operation has its bytes. */
static long next_place(void)
{
    static long place;
    place = (place + 7 * PAGE) % (SHIFTS * PAGE);
    return place;
}

/* Each of these performs n operations and returns the time in ns, NAN if it can't. */

static double failed(const char *what)
{
    perror(what);
    return NAN;
}

static double writes(long n, size_t length)
{
    if (lseek(file, 0, SEEK_SET) != 0)
        return failed("lseek");
    long bad = 0;
    double start = now_ns();
    for (long i = 0; i < n; i++) {
        written_from = next_place();
        bad += write(file, data + written_from, length) != (ssize_t)length;
    }
    double time = now_ns() - start;
    return bad ? failed("write") : time;
}

static double writes_of_1(long n)
{
    return writes(n, 1);
}

static double writes_of_4k(long n)
{
    return writes(n, 4096);
}

static double writes_of_1m(long n)
{
    return writes(n, MIB);
}

static double stats(long n)
{
    struct stat status;
    long bad = 0;
    double start = now_ns();
    for (long i = 0; i < n; i++)
        bad += stat(path, &status) != 0;
    double time = now_ns() - start;
    return bad ? failed("stat") : time;
}

static double opens(long n)
{
    long bad = 0;
    double start = now_ns();
    for (long i = 0; i < n; i++) {
        int fd = open(path, O_RDONLY);
        bad += fd < 0 || close(fd) != 0;
    }
    double time = now_ns() - start;
    return bad ? failed("open or close") : time;
}

/* Of whole files an operation is one MiB. */

static double whole_file_written(long n)
{
    if (ftruncate(file, 0) != 0)
        return failed("ftruncate");
    return writes(n, MIB);
}

static double whole_file_read(long n)
{
    struct stat status;
    if (fstat(file, &status) != 0)
        return failed("fstat");
    if (status.st_size != n * MIB && isnan(whole_file_written(n)))
        return NAN;
    if (lseek(file, 0, SEEK_SET) != 0)
        return failed("lseek");
    memset(copy, 0, BUFFER);
    long bad = 0, at = 0;
    double start = now_ns();
    for (long i = 0; i < n; i++) {
        at = next_place();
        bad += read(file, copy + at, MIB) != MIB;
    }
    double time = now_ns() - start;
    if (bad)
        return failed("read");
    if (memcmp(copy + at, data + written_from, MIB) != 0) {
        fprintf(stderr, "io: what was read is not what was written\n");
        return NAN;
    }
    return time;
}

static const struct test {
    const char *name;
    double (*run)(long n);
    /* Operations in a batch; 0: a whole file. */
    long n;
} tests[] = {
    {"io_write_1", writes_of_1, 200},       {"io_write_4k", writes_of_4k, 100}, {"io_write_1m", writes_of_1m, 4},
    {"io_seq_write", whole_file_written, 0}, {"io_seq_read", whole_file_read, 0}, {"io_stat", stats, 100},
    {"io_open_close", opens, 50},
};
enum { TESTS = sizeof tests / sizeof *tests, WHOLE_FILES = 3 };

static bool wanted(const char *name, char *const *only, int count)
{
    for (int i = 0; i < count; i++)
        if (strcmp(name, only[i]) == 0)
            return true;
    return count == 0;
}

static bool known(const char *name)
{
    for (int i = 0; i < TESTS; i++)
        if (strcmp(name, tests[i].name) == 0)
            return true;
    return false;
}

static bool measure(const struct test *test, double *times, int repetitions)
{
    bool whole = test->n == 0;
    long n = whole ? file_mib : test->n;
    if (whole && repetitions > WHOLE_FILES)
        repetitions = WHOLE_FILES;
    for (int i = -1; i < repetitions; i++) {
        double time = test->run(n);
        if (isnan(time)) {
            fprintf(stderr, "io: %s can't be measured\n", test->name);
            return false;
        }
        /* The first one warms up. */
        if (i >= 0)
            times[i] = time / (double)n;
    }
    double middle = median(times, (size_t)repetitions);
    if (whole)
        result(test->name, MIB * 1e3 / middle, "MB/s");
    else
        result(test->name, middle, "ns");
    return true;
}

int main(int argc, char **argv)
{
    char *only[MAX_ONLY];
    const char *folder = "/tmp";
    int repetitions = 51, selected = 0, option, cpu;
    while ((option = getopt(argc, argv, "mr:s:d:t:lh")) != -1) {
        switch (option) {
        case 'm': machine = true; break;
        case 'r': repetitions = (int)number(optarg, 1, 100000); break;
        case 's': file_mib = number(optarg, 1, 1 << 20); break;
        case 'd': folder = optarg; break;
        case 't':
            if (selected == MAX_ONLY || !known(optarg))
                usage(synopsis, option);
            only[selected++] = optarg;
            break;
        case 'l':
            for (int i = 0; i < TESTS; i++)
                puts(tests[i].name);
            return 0;
        default: usage(synopsis, option);
        }
    }
    if (optind < argc)
        usage(synopsis, '?');

    double *times = malloc((size_t)repetitions * sizeof *times);
    data = malloc(BUFFER);
    copy = malloc(BUFFER);
    if (!times || !data || !copy) {
        perror("io");
        return 1;
    }
    for (long i = 0; i < BUFFER; i++)
        data[i] = (char)(i * 31 + i / 4096);
    if ((size_t)snprintf(path, sizeof path, "%s/io.%d", folder, (int)getpid()) >= sizeof path) {
        fprintf(stderr, "io: this folder's name is too long\n");
        return 2;
    }
    file = open(path, O_RDWR | O_CREAT | O_EXCL, 0600);
    if (file < 0) {
        perror(path);
        return 1;
    }
    /* One thread on one CPU. */
    if (allowed_cpus(&cpu, 1) != 1 || !confine(&cpu, 1))
        return 1;
    int status = 0;
    for (int i = 0; i < TESTS; i++)
        if (wanted(tests[i].name, only, selected))
            status |= !measure(&tests[i], times, repetitions);
    unlink(path);
    return status;
}
