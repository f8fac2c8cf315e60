// SPDX-License-Identifier: MIT OR Apache-2.0

// Fixed work quantum: how evenly equal pieces of work take their time.
//
// Each thread, alone on its core, repeats the same work, a counting loop in registers, and takes the time of each
// piece by the time stamp counter. On a core without noise all take as long as the shortest. While it
// measures it makes no system call and touches no new page, so that whatever enters the kernel
// meanwhile is the system's doing. After the method of LLNL's FWQ, written anew.
//
//   fwq_min, fwq_median, fwq_mean, fwq_p999, fwq_max   time of a piece, over all threads
//   fwq_noise       by how much the mean is above the shortest
//   fwq_over        pieces in each second of a thread that took longer than the shortest by more than the threshold
//   fwq_hist_NS     number of pieces that took longer than the shortest by NS until below 2 NS nanoseconds
//
// With more threads than one the names end in the number of threads, as in fwq_max_t2. -o FILE writes
// a line for each piece: when it began (ns since the thread's first) and how long it took (ns); with
// more threads one after the other.

#include "bench.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char synopsis[] =
    "usage: fwq [-m] [-w BITS] [-n SAMPLES | -s SECONDS] [-t THREADS] [-e NANOSECONDS] [-o FILE]\n"
    "  -m  lines for a program to read\n"
    "  -w  a piece of work is 2^BITS rounds of the loop (default 17)\n"
    "  -n  how many pieces (default 10000)\n"
    "  -s  for how long, instead\n"
    "  -t  threads, each on a CPU of its own (default 1)\n"
    "  -e  the threshold for fwq_over (default 10000)\n"
    "  -o  write all samples to this file\n";

enum { MAX_THREADS = 256, MAX_SAMPLES = 1 << 26 };

static struct worker {
    pthread_t thread;
    int cpu;
    bool confined;
    struct sample *samples;
    long count;
} workers[MAX_THREADS];

static int threads = 1;
static long rounds, samples = 10000;
/* In ticks; 0 for no limit. */
static uint64_t duration;
static _Atomic int waiting;

static inline void work(void)
{
    for (long i = 0; i < rounds; i++)
        __asm__ volatile("" : "+r"(i));
}

static void *measure(void *argument)
{
    struct worker *me = argument;
    me->confined = confine(&me->cpu, 1);
    /* All start together. */
    waiting--;
    while (waiting > 0)
        __builtin_ia32_pause();
    uint64_t start = ticks(), from = start, end = duration ? start + duration : UINT64_MAX;
    long count = 0;
    while (count < samples && from < end) {
        from = ticks();
        work();
        uint64_t to = ticks();
        me->samples[count++] = (struct sample){from - start, to - from};
        from = to;
    }
    me->count = count;
    return NULL;
}

/* The shortest time of a piece, in ticks. */
static uint64_t shortest_piece(void)
{
    uint64_t best = UINT64_MAX;
    for (int i = 0; i < 50; i++) {
        uint64_t from = ticks();
        work();
        uint64_t time = ticks() - from;
        best = time < best ? time : best;
    }
    return best;
}

static void print(const char *name, double value, const char *unit)
{
    if (threads > 1)
        result_of_threads(name, threads, value, unit);
    else
        result(name, value, unit);
}

static bool summarise(double rate, double threshold)
{
    static uint64_t bins[BINS];
    long all = 0, over = 0, i = 0;
    double sum = 0, busy = 0;
    for (int t = 0; t < threads; t++)
        all += workers[t].count;
    double *times = malloc((size_t)all * sizeof *times);
    if (!times) {
        perror("fwq");
        return false;
    }
    for (int t = 0; t < threads; t++) {
        for (long s = 0; s < workers[t].count; s++) {
            times[i] = (double)workers[t].samples[s].length / rate;
            sum += times[i++];
        }
        const struct sample *last = &workers[t].samples[workers[t].count - 1];
        busy += (double)(last->at + last->length) / rate;
    }
    double middle = median(times, (size_t)all); /* they are sorted now */
    double shortest = times[0];
    for (i = 0; i < all; i++) {
        over += times[i] - shortest > threshold;
        bins[bin_of((uint64_t)(times[i] - shortest))]++;
    }
    print("fwq_min", shortest, "ns");
    print("fwq_median", middle, "ns");
    print("fwq_mean", sum / (double)all, "ns");
    print("fwq_p999", times[all - 1 - all / 1000], "ns");
    print("fwq_max", times[all - 1], "ns");
    print("fwq_noise", 100 * (sum / (double)all / shortest - 1), "%");
    print("fwq_over", (double)over / (busy / 1e9), "1/s");
    if (threads == 1)
        histogram("fwq", bins);
    free(times);
    return true;
}

static bool write_samples(const char *name, double rate)
{
    FILE *file = fopen(name, "w");
    if (!file) {
        perror(name);
        return false;
    }
    for (int t = 0; t < threads; t++)
        print_samples(file, workers[t].samples, (size_t)workers[t].count, rate);
    return close_samples(file, name);
}

static bool prepare(void)
{
    int cpus[MAX_THREADS];
    if (allowed_cpus(cpus, threads) < threads) {
        fprintf(stderr, "fwq: there are fewer than %d CPUs\n", threads);
        return false;
    }
    for (int t = 0; t < threads; t++) {
        workers[t].cpu = cpus[t];
        workers[t].samples = malloc((size_t)samples * sizeof(struct sample));
        if (!workers[t].samples) {
            perror("fwq");
            return false;
        }
        memset(workers[t].samples, 0xff, (size_t)samples * sizeof(struct sample));
    }
    return true;
}

int main(int argc, char **argv)
{
    const char *file = NULL;
    long seconds = 0, threshold = 10000, bits = 17;
    int option;
    while ((option = getopt(argc, argv, "mw:n:s:t:e:o:h")) != -1) {
        switch (option) {
        case 'm': machine = true; break;
        case 'w': bits = number(optarg, 4, 40); break;
        case 'n': samples = number(optarg, 1, MAX_SAMPLES); break;
        case 's': seconds = number(optarg, 1, 86400); break;
        case 't': threads = (int)number(optarg, 1, MAX_THREADS); break;
        case 'e': threshold = number(optarg, 1, 1000000000); break;
        case 'o': file = optarg; break;
        default: usage(synopsis, option);
        }
    }
    if (optind < argc)
        usage(synopsis, '?');

    rounds = 1L << bits;
    double rate = ticks_per_ns();
    if (seconds) {
        duration = (uint64_t)((double)seconds * 1e9 * rate);
        /* Room for pieces that turn out much shorter than the shortest so far, when an emulator's host was busy. */
        uint64_t most = duration / shortest_piece() * 5 + 1000;
        samples = most < MAX_SAMPLES ? (long)most : MAX_SAMPLES;
    }
    if (!prepare())
        return 1;
    waiting = threads;
    for (int t = 1; t < threads; t++) {
        int error = pthread_create(&workers[t].thread, NULL, measure, &workers[t]);
        if (error) {
            fprintf(stderr, "fwq: pthread_create: %s\n", strerror(error));
            return 1;
        }
    }
    measure(&workers[0]);
    for (int t = 1; t < threads; t++)
        pthread_join(workers[t].thread, NULL);
    for (int t = 0; t < threads; t++)
        if (!workers[t].confined)
            return 1;
    return summarise(rate, (double)threshold) && (!file || write_samples(file, rate)) ? 0 : 1;
}
