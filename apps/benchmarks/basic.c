// SPDX-License-Identifier: MIT OR Apache-2.0

// What the basic services of the system cost, one at a time.
//
//   getpid                 system call that does nothing: syscall(SYS_getpid)
//   sched_yield            with nobody to yield to
//   clock_gettime_vdso     clock_gettime(CLOCK_MONOTONIC), as libc does it
//   clock_gettime_call     the same, by a system call
//   write_null             write of one byte to /dev/null
//   malloc_1m              malloc and free of 1 MiB, which maps and unmaps it (and touches the page with its size)
//   malloc_touch_1m        the same, with a write to each 4 KiB page between the two
//   first_touch_4k         first write to a page of a fresh mapping of 1 MiB, for which huge pages are refused
//   first_touch_16m        the same per 4 KiB of a mapping of 16 MiB, with the huge pages that the system gives by itself
//   futex_pingpong_1core   two threads of one core wake each other by futex and wait: a round trip, with two switches
//   futex_pingpong_2cores  the same on two cores
//   thread_create_join_1core   pthread_create of an empty thread and pthread_join, all on one core
//   thread_create_join_2cores  the same on two cores
//   yield_2threads_1core   two threads of one core that only yield: time for each call of sched_yield
//
// A batch of operations is timed with CLOCK_MONOTONIC and divided by their number. That is done often
// (-r), and the median is the result. The batches are short, well below a millisecond, so that most
// have no timer interrupt in them. What needs two cores is left out where only one may be used.

#include "bench.h"

#include <fcntl.h>
#include <linux/futex.h>
#include <malloc.h>
#include <math.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static const char synopsis[] =
    "usage: basic [-m] [-r REPETITIONS] [-n OPERATIONS] [-t TEST]... [-l]\n"
    "  -m  lines for a program to read\n"
    "  -r  batches of each test, of which the median counts (default 51)\n"
    "  -n  operations in a batch (default: what suits the test)\n"
    "  -t  only this test\n"
    "  -l  list the tests\n";

enum { PAGE = 4096, MIB = 1 << 20, MAX_ONLY = 32 };

/* The first two CPUs of those that may be used. */
static int cpus[2];
static int null;

/* Each of these performs n operations and returns the time in ns, NAN if it can't. */

static double getpid_calls(long n)
{
    double start = now_ns();
    for (long i = 0; i < n; i++)
        syscall(SYS_getpid);
    return now_ns() - start;
}

static double yields(long n)
{
    double start = now_ns();
    for (long i = 0; i < n; i++)
        sched_yield();
    return now_ns() - start;
}

static double clock_by_vdso(long n)
{
    struct timespec at;
    double start = now_ns();
    for (long i = 0; i < n; i++)
        clock_gettime(CLOCK_MONOTONIC, &at);
    return now_ns() - start;
}

static double clock_by_call(long n)
{
    struct timespec at;
    double start = now_ns();
    for (long i = 0; i < n; i++)
        syscall(SYS_clock_gettime, CLOCK_MONOTONIC, &at);
    return now_ns() - start;
}

static double writes(long n)
{
    long bad = 0;
    double start = now_ns();
    for (long i = 0; i < n; i++)
        bad += write(null, "x", 1) != 1;
    double end = now_ns();
    if (bad) {
        perror("write to /dev/null");
        return NAN;
    }
    return end - start;
}

static double allocations(long n, bool touch)
{
    double start = now_ns();
    for (long i = 0; i < n; i++) {
        volatile char *block = malloc(MIB);
        if (!block) {
            perror("malloc");
            return NAN;
        }
        if (touch)
            for (long at = 0; at < MIB; at += PAGE)
                block[at] = 1;
        free((void *)block);
    }
    return now_ns() - start;
}

static double mallocs(long n)
{
    return allocations(n, false);
}

static double mallocs_with_touch(long n)
{
    return allocations(n, true);
}

static double touch(long pages, bool huge)
{
    size_t length = (size_t)pages * PAGE;
    volatile char *block = mmap(NULL, length, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (block == MAP_FAILED) {
        perror("mmap");
        return NAN;
    }
    /* Where this is not known there are no huge pages to refuse. */
    if (!huge)
        madvise((void *)block, length, MADV_NOHUGEPAGE);
    double start = now_ns();
    for (size_t at = 0; at < length; at += PAGE)
        block[at] = 1;
    double time = now_ns() - start;
    munmap((void *)block, length);
    return time;
}

static double touch_small(long n)
{
    return touch(n, false);
}

static double touch_large(long n)
{
    return touch(n, true);
}

static bool start_thread(pthread_t *thread, void *(*body)(void *), void *argument)
{
    int error = pthread_create(thread, NULL, body, argument);
    if (error)
        fprintf(stderr, "pthread_create: %s\n", strerror(error));
    return !error;
}

/* Whose turn it is: 0 for the thread that measures, 1 for its partner. */
static _Atomic uint32_t turn;

struct partner {
    int cpu;
    long n;
    _Atomic int ready;
    _Atomic int done;
};

static void pass_turn(uint32_t to)
{
    turn = to;
    syscall(SYS_futex, &turn, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
}

static void await_turn(uint32_t mine)
{
    while (turn != mine)
        syscall(SYS_futex, &turn, FUTEX_WAIT_PRIVATE, 1 - mine, NULL, NULL, 0);
}

static void *pong(void *argument)
{
    struct partner *me = argument;
    me->ready = confine(&me->cpu, 1) ? 1 : -1;
    for (long i = 0; i < me->n; i++) {
        await_turn(1);
        pass_turn(0);
    }
    return NULL;
}

static double pingpong(long n, int cpu)
{
    /* The first round, in which the partner starts, isn't counted. */
    struct partner partner = {.cpu = cpu, .n = n + 1};
    pthread_t thread;
    double start = 0;
    if (!start_thread(&thread, pong, &partner))
        return NAN;
    for (long i = 0; i <= n; i++) {
        pass_turn(1);
        await_turn(0);
        if (i == 0)
            start = now_ns();
    }
    double time = now_ns() - start;
    pthread_join(thread, NULL);
    return partner.ready == 1 ? time : NAN;
}

static double pingpong_1core(long n)
{
    return pingpong(n, cpus[0]);
}

static double pingpong_2cores(long n)
{
    return pingpong(n, cpus[1]);
}

static void *nothing(void *argument)
{
    return argument;
}

static double create_and_join(long n, int count)
{
    /* A thread may run where the one may that creates it. */
    if (!confine(cpus, count))
        return NAN;
    double start = now_ns(), time = NAN;
    for (long i = 0; i < n; i++) {
        pthread_t thread;
        if (!start_thread(&thread, nothing, NULL))
            goto out;
        pthread_join(thread, NULL);
    }
    time = now_ns() - start;
out:
    confine(cpus, 1);
    return time;
}

static double create_and_join_1core(long n)
{
    return create_and_join(n, 1);
}

static double create_and_join_2cores(long n)
{
    return create_and_join(n, 2);
}

static void *yield_along(void *argument)
{
    struct partner *me = argument;
    me->ready = confine(&me->cpu, 1) ? 1 : -1;
    for (long i = 0; i < me->n; i++)
        sched_yield();
    me->done = 1;
    return NULL;
}

static double yield_to_each_other(long n)
{
    struct partner partner = {.cpu = cpus[0], .n = n / 2};
    pthread_t thread;
    if (!start_thread(&thread, yield_along, &partner))
        return NAN;
    while (!partner.ready)
        sched_yield();
    double start = now_ns();
    for (long i = 0; i < n / 2; i++)
        sched_yield();
    while (!partner.done)
        sched_yield();
    double time = now_ns() - start;
    pthread_join(thread, NULL);
    return partner.ready == 1 ? time : NAN;
}

static const struct test {
    const char *name;
    double (*run)(long n);
    long n;
    int cores;
} tests[] = {
    {"getpid", getpid_calls, 2000, 1},
    {"sched_yield", yields, 1000, 1},
    {"clock_gettime_vdso", clock_by_vdso, 5000, 1},
    {"clock_gettime_call", clock_by_call, 1000, 1},
    {"write_null", writes, 1000, 1},
    {"malloc_1m", mallocs, 50, 1},
    {"malloc_touch_1m", mallocs_with_touch, 1, 1},
    {"first_touch_4k", touch_small, MIB / PAGE, 1},
    {"first_touch_16m", touch_large, 16 * MIB / PAGE, 1},
    {"futex_pingpong_1core", pingpong_1core, 100, 1},
    {"futex_pingpong_2cores", pingpong_2cores, 100, 2},
    {"thread_create_join_1core", create_and_join_1core, 20, 1},
    {"thread_create_join_2cores", create_and_join_2cores, 20, 2},
    {"yield_2threads_1core", yield_to_each_other, 400, 1},
};
enum { TESTS = sizeof tests / sizeof *tests };

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

static bool measure(const struct test *test, long n, double *times, int repetitions)
{
    for (int i = -1; i < repetitions; i++) {
        double time = test->run(n);
        if (isnan(time)) {
            fprintf(stderr, "basic: %s can't be measured\n", test->name);
            return false;
        }
        /* The first one warms up. */
        if (i >= 0)
            times[i] = time / (double)n;
    }
    result(test->name, median(times, (size_t)repetitions), "ns");
    return true;
}

int main(int argc, char **argv)
{
    char *only[MAX_ONLY];
    int repetitions = 51, selected = 0, option;
    long n = 0;
    while ((option = getopt(argc, argv, "mr:n:t:lh")) != -1) {
        switch (option) {
        case 'm': machine = true; break;
        case 'r': repetitions = (int)number(optarg, 1, 100000); break;
        case 'n': n = number(optarg, 2, 100000000); break;
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

    /* Else malloc would learn from the first free and keep the memory. */
    mallopt(M_MMAP_THRESHOLD, 128 << 10);
    int cores = allowed_cpus(cpus, 2);
    double *times = malloc((size_t)repetitions * sizeof *times);
    null = open("/dev/null", O_WRONLY);
    if (!times || null < 0) {
        perror("basic");
        return 1;
    }
    if (!confine(cpus, 1))
        return 1;
    int failed = 0;
    for (int i = 0; i < TESTS; i++) {
        const struct test *test = &tests[i];
        if (!wanted(test->name, only, selected))
            continue;
        if (test->cores > cores)
            fprintf(stderr, "basic: %s left out: it needs %d CPUs\n", test->name, test->cores);
        else
            failed |= !measure(test, n ? n : test->n, times, repetitions);
    }
    return failed;
}
