// SPDX-License-Identifier: MIT OR Apache-2.0

// Bandwidth of memory as OpenMP programs see it, after McCalpin's STREAM, written anew.
//
//   stream_copy    c[i] = a[i]              16 bytes an element
//   stream_scale   b[i] = s * c[i]          16
//   stream_add     c[i] = a[i] + b[i]       24
//   stream_triad   a[i] = b[i] + s * c[i]   24
//
// The four are run in turn, -r times; the result is the median of the rates, in 10^6 bytes a second, as
// bytes that the program reads or writes. The first round warms up and isn't counted. Each thread has touched
// its part of the arrays first. At the end the arrays must have the values that the rounds lead to, or
// there is no result. The names end in the number of threads that took part: stream_copy_t2.

#include "bench.h"

#include <math.h>
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static const char synopsis[] =
    "usage: stream [-m] [-n ELEMENTS] [-r REPETITIONS] [-t THREADS]\n"
    "  -m  lines for a program to read\n"
    "  -n  elements of 8 bytes in each of the three arrays (default 2000000; take four times the caches)\n"
    "  -r  how often (default 21)\n"
    "  -t  threads (default: as OpenMP does)\n";

enum { COPY, SCALE, ADD, TRIAD, KERNELS };

static const struct {
    const char *name;
    double bytes;
} kernels[KERNELS] = {{"stream_copy", 16}, {"stream_scale", 16}, {"stream_add", 24}, {"stream_triad", 24}};

/* Keeps the values within bounds: a round multiplies them by 1 + s * (s + 1), or about 1.0025. */
static const double s = 0.0025;

static double run(int kernel, double *restrict a, double *restrict b, double *restrict c, long n)
{
    double start = now_ns();
    switch (kernel) {
    case COPY:
#pragma omp parallel for schedule(static)
        for (long i = 0; i < n; i++)
            c[i] = a[i];
        break;
    case SCALE:
#pragma omp parallel for schedule(static)
        for (long i = 0; i < n; i++)
            b[i] = s * c[i];
        break;
    case ADD:
#pragma omp parallel for schedule(static)
        for (long i = 0; i < n; i++)
            c[i] = a[i] + b[i];
        break;
    case TRIAD:
#pragma omp parallel for schedule(static)
        for (long i = 0; i < n; i++)
            a[i] = b[i] + s * c[i];
        break;
    }
    return now_ns() - start;
}

/* What one element of each array comes to, against all of them. */
static bool verify(const double *a, const double *b, const double *c, long n, int rounds)
{
    double x = 1, y = 2, z = 0;
    for (int i = 0; i < rounds; i++) {
        z = x;
        y = s * z;
        z = x + y;
        x = y + s * z;
    }
    for (long i = 0; i < n; i++) {
        double error = fmax(fabs(a[i] / x - 1), fmax(fabs(b[i] / y - 1), fabs(c[i] / z - 1)));
        if (!(error < 1e-12)) {
            fprintf(stderr, "stream: element %ld is wrong: %g %g %g, expected %g %g %g\n", i, a[i], b[i], c[i], x, y, z);
            return false;
        }
    }
    return true;
}

int main(int argc, char **argv)
{
    long n = 2000000;
    int repetitions = 21, option, threads = 1;
    while ((option = getopt(argc, argv, "mn:r:t:h")) != -1) {
        switch (option) {
        case 'm': machine = true; break;
        case 'n': n = number(optarg, 1, 1L << 36); break;
        case 'r': repetitions = (int)number(optarg, 1, 10000); break;
        case 't': omp_set_num_threads((int)number(optarg, 1, 4096)); break;
        default: usage(synopsis, option);
        }
    }
    if (optind < argc)
        usage(synopsis, '?');

    /* One block, so that the arrays lie to each other in the same way wherever malloc puts it, and some
       pages and lines apart, so that their elements don't compete for a place in caches and TLBs. */
    size_t apart = (((size_t)n + 511) / 512 + 5) * 512 + 16;
    double *a = aligned_alloc(4096, (3 * apart * sizeof(double) + 4095) & ~(size_t)4095);
    double *rates = malloc((size_t)repetitions * KERNELS * sizeof *rates);
    if (!a || !rates) {
        perror("stream");
        return 1;
    }
    double *b = a + apart, *c = b + apart;
#pragma omp parallel
    {
#pragma omp single
        threads = omp_get_num_threads();
#pragma omp for schedule(static)
        for (long i = 0; i < n; i++) {
            a[i] = 1;
            b[i] = 2;
            c[i] = 0;
        }
    }
    for (int i = -1; i < repetitions; i++)
        for (int kernel = 0; kernel < KERNELS; kernel++) {
            double time = run(kernel, a, b, c, n);
            if (i >= 0)
                rates[kernel * repetitions + i] = kernels[kernel].bytes * (double)n / time * 1e3;
        }
    if (!verify(a, b, c, n, repetitions + 1))
        return 1;
    for (int kernel = 0; kernel < KERNELS; kernel++) {
        double rate = median(&rates[kernel * repetitions], (size_t)repetitions);
        result_of_threads(kernels[kernel].name, threads, rate, "MB/s");
    }
    return 0;
}
