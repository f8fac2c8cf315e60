// SPDX-License-Identifier: MIT OR Apache-2.0

// What the benchmarks share: options, clocks, medians, CPUs and the form of the results.
//
// With -m a result is a line "name value unit" on standard output and nothing else is printed there;
// without it, a row of a table for a person. Complaints go to standard error. The exit status is 0, 1 if
// something could not be measured, 2 for wrong arguments.

#pragma once

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

/* Set by -m. */
extern bool machine;

/* The text as a whole number from min to max; anything else ends the program. */
long number(const char *text, long min, long max);

/* Prints the synopsis and ends the program: with 0 if asked for (-h), else with 2. */
_Noreturn void usage(const char *synopsis, int option);

/* A result, printed at once, so that it isn't lost if what follows fails. */
void result(const char *name, double value, const char *unit);

/* The same with a suffix for the number of threads, as in "copy_t2". */
void result_of_threads(const char *name, int threads, double value, const char *unit);

/* The middle value; sorts what it is given. */
double median(double *values, size_t count);

/* CLOCK_MONOTONIC. */
double now_ns(void);

/* How many ticks of the time stamp counter are a nanosecond; found by watching both for 50 ms. */
double ticks_per_ns(void);

static inline uint64_t ticks(void)
{
    uint32_t low, high;
    __asm__ volatile("rdtsc" : "=a"(low), "=d"(high) : : "memory");
    return (uint64_t)high << 32 | low;
}

/* The CPUs that this process may use, in ascending order; returns how many there are. */
int allowed_cpus(int *cpus, int max);

/* Confines the calling thread to these CPUs; tells why if that fails. */
bool confine(const int *cpus, int count);

/* When something was seen or began, and how long it took, in ticks. */
struct sample {
    uint64_t at;
    uint64_t length;
};

/* Writes a line "AT LENGTH" for each, in ns. */
void print_samples(FILE *file, const struct sample *samples, size_t count, double rate);

/* Closes what samples were written to; tells why if that fails. */
bool close_samples(FILE *file, const char *name);

/* The longest time that a histogram tells apart is 2^30 ns; longer ones are counted there. */
enum { BINS = 31 };

/* The bin of a time: bin b has the times from 2^b ns until below 2^(b+1) ns, bin 0 also zero. */
static inline int bin_of(uint64_t ns)
{
    int bin = 63 - __builtin_clzll(ns | 1);
    return bin < BINS ? bin : BINS - 1;
}

/* Prints the bins that aren't empty as "NAME_hist_LOWEST count count", LOWEST in ns. */
void histogram(const char *name, const uint64_t *bins);
