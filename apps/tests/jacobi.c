// SPDX-License-Identifier: MIT OR Apache-2.0

// Heat in a square plate by Jacobi's method, until nothing changes any more. Built twice: with a team
// of pthreads that meet at barriers, and with OpenMP. The result is that of one thread, to the bit.

#define _GNU_SOURCE
#include <math.h>

#include "check.h"

enum { N = 48, THREADS = 4 };

#define ENOUGH 1e-6

typedef double plate[N + 2][N + 2];

static plate alone[2], together[2];

/* The upper edge is hot, the others are cold. */
static void prepare(plate p[2])
{
    for (int i = 0; i < 2; i++)
        for (int x = 0; x < N + 2; x++)
            p[i][0][x] = 1;
}

/* One row. Returns the largest change. */
static double sweep(plate from, plate to, int y)
{
    double largest = 0;
    for (int x = 1; x <= N; x++) {
        to[y][x] = (from[y - 1][x] + from[y + 1][x] + from[y][x - 1] + from[y][x + 1]) / 4;
        largest = fmax(largest, fabs(to[y][x] - from[y][x]));
    }
    return largest;
}

static int solve_alone(plate p[2])
{
    for (int step = 0;; step++) {
        double largest = 0;
        for (int y = 1; y <= N; y++)
            largest = fmax(largest, sweep(p[step % 2], p[(step + 1) % 2], y));
        if (largest < ENOUGH)
            return step;
    }
}

#ifdef _OPENMP

static int solve_together(plate p[2])
{
    for (int step = 0;; step++) {
        double largest = 0;
#pragma omp parallel for num_threads(THREADS) reduction(max : largest)
        for (int y = 1; y <= N; y++)
            largest = fmax(largest, sweep(p[step % 2], p[(step + 1) % 2], y));
        if (largest < ENOUGH)
            return step;
    }
}

#else

static pthread_barrier_t barrier;
static double change[2][THREADS]; /* by step, so that nobody overwrites what others still read */
static int steps[THREADS];

static void *work(void *arg)
{
    int me = (int)(intptr_t)arg;
    for (int step = 0;; step++) {
        double mine = 0, largest = 0;
        for (int y = 1 + N * me / THREADS; y <= N * (me + 1) / THREADS; y++)
            mine = fmax(mine, sweep(together[step % 2], together[(step + 1) % 2], y));
        change[step % 2][me] = mine;
        int result = pthread_barrier_wait(&barrier);
        MUST(result == 0 || result == PTHREAD_BARRIER_SERIAL_THREAD);
        for (int i = 0; i < THREADS; i++)
            largest = fmax(largest, change[step % 2][i]);
        if (largest < ENOUGH) {
            steps[me] = step;
            return NULL;
        }
    }
}

static int solve_together(plate p[2])
{
    (void)p;
    pthread_t threads[THREADS];
    MUST(pthread_barrier_init(&barrier, NULL, THREADS) == 0);
    for (int i = 0; i < THREADS; i++)
        threads[i] = start(work, (void *)(intptr_t)i);
    for (int i = 0; i < THREADS; i++)
        join(threads[i]);
    for (int i = 1; i < THREADS; i++)
        MUST(steps[i] == steps[0]);
    MUST(pthread_barrier_destroy(&barrier) == 0);
    return steps[0];
}

#endif

int main(void)
{
    prepare(alone);
    prepare(together);
    int one = solve_alone(alone), many = solve_together(together);
    plate *result = &together[(many + 1) % 2];
    double residual = 0;
    for (int y = 1; y <= N; y++)
        for (int x = 1; x <= N; x++)
            residual = fmax(residual, fabs((*result)[y - 1][x] + (*result)[y + 1][x] + (*result)[y][x - 1] +
                                           (*result)[y][x + 1] - 4 * (*result)[y][x]));
    printf("%d steps, in the middle %.6f, residual %.1e\n", many, (*result)[N / 2][N / 2], residual);
    CHECK_IS(many, one);
    CHECK(residual < 4 * ENOUGH);
    CHECK(memcmp(alone, together, sizeof alone) == 0);
    puts("as one thread does it");
    return 0;
}
