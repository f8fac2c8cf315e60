// SPDX-License-Identifier: MIT OR Apache-2.0

#include "bench.h"

#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

bool machine;

long number(const char *text, long min, long max)
{
    char *end;
    errno = 0;
    long value = strtol(text, &end, 10);
    if (errno || end == text || *end || value < min || value > max) {
        fprintf(stderr, "%s: write a number from %ld to %ld\n", text, min, max);
        exit(2);
    }
    return value;
}

void usage(const char *synopsis, int option)
{
    fprintf(option == 'h' ? stdout : stderr, "%s", synopsis);
    exit(option == 'h' ? 0 : 2);
}

void result(const char *name, double value, const char *unit)
{
    printf(machine ? "%s %.10g %s\n" : "%-32s %14.6g %s\n", name, value, unit);
    fflush(stdout);
}

void result_of_threads(const char *name, int threads, double value, const char *unit)
{
    char full[64];
    snprintf(full, sizeof full, "%s_t%d", name, threads);
    result(full, value, unit);
}

static int ascending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

double median(double *values, size_t count)
{
    qsort(values, count, sizeof *values, ascending);
    return (values[(count - 1) / 2] + values[count / 2]) / 2;
}

double now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec * 1e9 + (double)now.tv_nsec;
}

double ticks_per_ns(void)
{
    double from_ns = now_ns(), to_ns;
    uint64_t from = ticks();
    do
        to_ns = now_ns();
    while (to_ns - from_ns < 50e6);
    return (double)(ticks() - from) / (to_ns - from_ns);
}

int allowed_cpus(int *cpus, int max)
{
    cpu_set_t set;
    int count = 0;
    if (sched_getaffinity(0, sizeof set, &set) != 0) {
        perror("sched_getaffinity");
        exit(1);
    }
    for (int cpu = 0; cpu < CPU_SETSIZE && count < max; cpu++)
        if (CPU_ISSET(cpu, &set))
            cpus[count++] = cpu;
    return count;
}

bool confine(const int *cpus, int count)
{
    cpu_set_t set, now;
    CPU_ZERO(&set);
    for (int i = 0; i < count; i++)
        CPU_SET(cpus[i], &set);
    /* Where it is so already, nothing has to be possible. */
    if (sched_getaffinity(0, sizeof now, &now) == 0 && CPU_EQUAL(&now, &set))
        return true;
    if (sched_setaffinity(0, sizeof set, &set) == 0)
        return true;
    perror("sched_setaffinity");
    return false;
}

void histogram(const char *name, const uint64_t *bins)
{
    char full[64];
    for (int bin = 0; bin < BINS; bin++) {
        if (!bins[bin])
            continue;
        snprintf(full, sizeof full, "%s_hist_%llu", name, bin ? 1ULL << bin : 0ULL);
        result(full, (double)bins[bin], "count");
    }
}

void print_samples(FILE *file, const struct sample *samples, size_t count, double rate)
{
    for (size_t i = 0; i < count; i++)
        fprintf(file, "%.0f %.0f\n", (double)samples[i].at / rate, (double)samples[i].length / rate);
}

bool close_samples(FILE *file, const char *name)
{
    if (fclose(file) == 0)
        return true;
    perror(name);
    return false;
}
