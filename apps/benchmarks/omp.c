// SPDX-License-Identifier: MIT OR Apache-2.0

// What OpenMP's constructs cost, after the method of EPCC's OpenMP microbenchmarks, written anew.
//
// The same amount of work, a short delay loop, is done many times: first without the construct, on one
// thread, then with it, on all. The difference in time, per use of the construct, is its overhead. That
// is repeated (-r); the result is the median. Where threads have to share cores it has little meaning.
//
//   omp_parallel           a parallel region
//   omp_for                a work-sharing loop with one iteration for each thread
//   omp_barrier            a barrier
//   omp_critical           entering and leaving a critical section
//   omp_reduction          a parallel region with a reduction
//   omp_schedule_static    a loop of 64 iterations for each thread, by schedule(static),
//   omp_schedule_dynamic   by schedule(dynamic, 1),
//   omp_schedule_guided    and by schedule(guided, 1)
//   omp_task               a task, created by every thread
//
// The names end in the number of threads that took part: omp_parallel_t2. With OMP_WAIT_POLICY=passive, where threads that
// wait for each other sleep instead of spinning, omp_parallel_passive_t2.

#include "bench.h"

#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

static const char synopsis[] =
    "usage: omp [-m] [-n USES] [-d ROUNDS] [-r REPETITIONS] [-t THREADS]\n"
    "  -m  lines for a program to read\n"
    "  -n  uses of the construct in a batch (default 200)\n"
    "  -d  rounds of the delay loop (default 200)\n"
    "  -r  batches of each construct, of which the median counts (default 21)\n"
    "  -t  threads (default: as OpenMP does)\n";

enum { PER_THREAD = 64 };

static long uses = 200, rounds = 200;
static int threads = 1;
static long reduced;

static void delay(void)
{
    for (long i = 0; i < rounds; i++)
        __asm__ volatile("" : "+r"(i));
}

static void parallel(void)
{
    for (long j = 0; j < uses; j++) {
#pragma omp parallel
        delay();
    }
}

static void work_sharing(void)
{
#pragma omp parallel
    for (long j = 0; j < uses; j++) {
#pragma omp for
        for (int i = 0; i < threads; i++)
            delay();
    }
}

static void barrier(void)
{
#pragma omp parallel
    for (long j = 0; j < uses; j++) {
        delay();
#pragma omp barrier
    }
}

/* All the delays one after another, as without the construct. */
static void critical(void)
{
#pragma omp parallel
    for (long j = 0; j < uses / threads; j++) {
#pragma omp critical
        delay();
    }
}

static void reduction(void)
{
    long sum = 0;
    for (long j = 0; j < uses; j++) {
#pragma omp parallel reduction(+ : sum)
        {
            delay();
            sum++;
        }
    }
    reduced = sum;
}

static void schedule_static(void)
{
#pragma omp parallel
    for (long j = 0; j < uses; j++) {
#pragma omp for schedule(static)
        for (int i = 0; i < PER_THREAD * threads; i++)
            delay();
    }
}

static void schedule_dynamic(void)
{
#pragma omp parallel
    for (long j = 0; j < uses; j++) {
#pragma omp for schedule(dynamic, 1)
        for (int i = 0; i < PER_THREAD * threads; i++)
            delay();
    }
}

static void schedule_guided(void)
{
#pragma omp parallel
    for (long j = 0; j < uses; j++) {
#pragma omp for schedule(guided, 1)
        for (int i = 0; i < PER_THREAD * threads; i++)
            delay();
    }
}

static void tasks(void)
{
#pragma omp parallel
    for (long j = 0; j < uses; j++) {
#pragma omp task
        delay();
    }
}

static const struct construct {
    const char *name;
    void (*run)(void);
    /* Delays that one thread makes for each use. */
    int delays;
} constructs[] = {
    {"omp_parallel", parallel, 1},
    {"omp_for", work_sharing, 1},
    {"omp_barrier", barrier, 1},
    {"omp_critical", critical, 1},
    {"omp_reduction", reduction, 1},
    {"omp_schedule_static", schedule_static, PER_THREAD},
    {"omp_schedule_dynamic", schedule_dynamic, PER_THREAD},
    {"omp_schedule_guided", schedule_guided, PER_THREAD},
    {"omp_task", tasks, 1},
};

static double without(int delays)
{
    double start = now_ns();
    for (long j = 0; j < uses * delays; j++)
        delay();
    return now_ns() - start;
}

static double with(const struct construct *construct)
{
    double start = now_ns();
    construct->run();
    return now_ns() - start;
}

int main(int argc, char **argv)
{
    int repetitions = 21, option;
    while ((option = getopt(argc, argv, "mn:d:r:t:h")) != -1) {
        switch (option) {
        case 'm': machine = true; break;
        case 'n': uses = number(optarg, 1, 100000000); break;
        case 'd': rounds = number(optarg, 1, 100000000); break;
        case 'r': repetitions = (int)number(optarg, 1, 10000); break;
        case 't': omp_set_num_threads((int)number(optarg, 1, 4096)); break;
        default: usage(synopsis, option);
        }
    }
    if (optind < argc)
        usage(synopsis, '?');

#pragma omp parallel
#pragma omp single
    threads = omp_get_num_threads();
    /* The critical section's uses are shared out among the threads. */
    uses = (uses + threads - 1) / threads * threads;

    double *overheads = malloc((size_t)repetitions * sizeof *overheads);
    if (!overheads) {
        perror("omp");
        return 1;
    }
    const char *policy = getenv("OMP_WAIT_POLICY");
    const char *suffix = policy && strcasecmp(policy, "passive") == 0 ? "_passive" : "";
    for (size_t i = 0; i < sizeof constructs / sizeof *constructs; i++) {
        const struct construct *construct = &constructs[i];
        char name[64];
        snprintf(name, sizeof name, "%s%s", construct->name, suffix);
        for (int r = -1; r < repetitions; r++) {
            double plain = without(construct->delays), time = with(construct);
            /* The first one warms up. */
            if (r >= 0)
                overheads[r] = (time - plain) / (double)uses;
        }
        if (construct->run == reduction && reduced != uses * threads) {
            fprintf(stderr, "omp: the reduction gave %ld instead of %ld\n", reduced, uses * threads);
            return 1;
        }
        result_of_threads(name, threads, median(overheads, (size_t)repetitions), "ns");
    }
    return 0;
}
