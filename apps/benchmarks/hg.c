// SPDX-License-Identifier: MIT OR Apache-2.0

// Hourglass: how often, and for how long, a core is taken away from a program that only computes.
//
// Reads the time stamp counter in a loop on one core. The time between two readings is a gap; nearly all
// are as short as the loop itself, and whatever else runs on the core makes one longer. Gaps over the threshold
// are kept with the time at which they were seen. That takes time, too, so the counter is read again
// afterwards: the bookkeeping counts as no gap.
//
//   hg_gap_avg      average of all gaps
//   hg_gap_max      the longest
//   hg_gaps_over    number of gaps over the threshold in each second
//   hg_lost         share of the time that was spent in gaps over the threshold
//   hg_hist_NS      number of gaps from NS until below 2 NS nanoseconds (the bins that aren't empty)
//
// -o FILE writes the gaps over the threshold, a line each: when it ended (ns since the start) and how
// long it was (ns).

#include "bench.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char synopsis[] =
    "usage: hg [-m] [-s SECONDS] [-t NANOSECONDS] [-o FILE]\n"
    "  -m  lines for a program to read\n"
    "  -s  how long (default 10)\n"
    "  -t  the threshold (default 10000)\n"
    "  -o  write the gaps over the threshold to this file\n";

enum { MAX_KEPT = 1 << 18 };

static struct sample *kept;
static uint64_t bins[BINS];

struct sums {
    uint64_t count, all, longest, over, over_all;
};

/* Times are ticks; scale is 2^32 times the nanoseconds of a tick. */
static struct sums watch(uint64_t duration, uint64_t threshold, uint64_t scale)
{
    struct sums sums = {0};
    uint64_t start = ticks(), last = start, end = start + duration;
    while (last < end) {
        uint64_t now = ticks(), gap = now - last;
        last = now;
        sums.count++;
        sums.all += gap;
        bins[bin_of((uint64_t)(((unsigned __int128)gap * scale) >> 32))]++;
        if (gap > sums.longest)
            sums.longest = gap;
        if (gap > threshold) {
            if (sums.over < MAX_KEPT)
                kept[sums.over] = (struct sample){now - start, gap};
            sums.over++;
            sums.over_all += gap;
            last = ticks();
        }
    }
    return sums;
}

static int write_gaps(const char *name, uint64_t count, double rate)
{
    FILE *file = fopen(name, "w");
    if (!file) {
        perror(name);
        return 1;
    }
    print_samples(file, kept, count < MAX_KEPT ? count : MAX_KEPT, rate);
    return close_samples(file, name) ? 0 : 1;
}

int main(int argc, char **argv)
{
    long seconds = 10, threshold = 10000;
    const char *file = NULL;
    int option, cpu;
    while ((option = getopt(argc, argv, "ms:t:o:h")) != -1) {
        switch (option) {
        case 'm': machine = true; break;
        case 's': seconds = number(optarg, 1, 86400); break;
        case 't': threshold = number(optarg, 1, 1000000000); break;
        case 'o': file = optarg; break;
        default: usage(synopsis, option);
        }
    }
    if (optind < argc)
        usage(synopsis, '?');

    kept = malloc(MAX_KEPT * sizeof *kept);
    if (!kept) {
        perror("hg");
        return 1;
    }
    /* No page is touched for the first time while time is taken. */
    memset(kept, 0xff, MAX_KEPT * sizeof *kept);
    memset(bins, 0xff, sizeof bins);
    memset(bins, 0, sizeof bins);
    if (allowed_cpus(&cpu, 1) != 1 || !confine(&cpu, 1))
        return 1;

    double rate = ticks_per_ns();
    uint64_t scale = (uint64_t)(4294967296.0 / rate);
    struct sums sums = watch((uint64_t)((double)seconds * 1e9 * rate), (uint64_t)((double)threshold * rate), scale);

    result("hg_gap_avg", (double)sums.all / (double)sums.count / rate, "ns");
    result("hg_gap_max", (double)sums.longest / rate, "ns");
    result("hg_gaps_over", (double)sums.over / (double)seconds, "1/s");
    result("hg_lost", 100.0 * (double)sums.over_all / (double)sums.all, "%");
    histogram("hg", bins);
    return file ? write_gaps(file, sums.over, rate) : 0;
}
