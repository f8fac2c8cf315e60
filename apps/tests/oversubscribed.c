// SPDX-License-Identifier: MIT OR Apache-2.0

// Four times more threads than CPUs: at barriers, waiting for each other without a system call, yielding, sleeping
// beside others that compute. All get on.

#define _GNU_SOURCE
#include <sched.h>
#include <stdatomic.h>

#include "check.h"

enum { MOST_THREADS = 64 };

static int count;
static pthread_t threads[MOST_THREADS];
static pthread_barrier_t barrier;
static atomic_int turn, done;
static struct { _Alignas(64) atomic_long units; } progress[MOST_THREADS];

static int in_all(void *(*run)(void *))
{
    turn = done = 0;
    for (int i = 0; i < count; i++)
        progress[i].units = 0;
    for (int i = 0; i < count; i++)
        threads[i] = start(run, (void *)(intptr_t)i);
    for (int i = 0; i < count; i++)
        join(threads[i]);
    return 0;
}

static void *meets_others(void *arg)
{
    int me = (int)(intptr_t)arg;
    for (int round = 1; round <= 100; round++) {
        progress[me].units = round;
        pthread_barrier_wait(&barrier);
        for (int i = 0; i < count; i++)
            MUST(progress[i].units == round);
        pthread_barrier_wait(&barrier);
    }
    return NULL;
}

static int meet(void)
{
    CHECK(pthread_barrier_init(&barrier, NULL, (unsigned)count) == 0);
    in_all(meets_others);
    return pthread_barrier_destroy(&barrier);
}

/* Nothing but pre-emption lets the next one run. */
static void *spins_for_turn(void *arg)
{
    int me = (int)(intptr_t)arg;
    while (atomic_load_explicit(&turn, memory_order_acquire) != me)
        ;
    turn++;
    /* Nor is the way free afterwards. */
    while (atomic_load_explicit(&turn, memory_order_acquire) < count)
        ;
    return NULL;
}

static int spin(void)
{
    in_all(spins_for_turn);
    CHECK_IS(turn, count);
    return 0;
}

static void *yields(void *arg)
{
    int me = (int)(intptr_t)arg;
    for (int round = 0; round < 20; round++) {
        while (turn != round * count + me)
            sched_yield();
        turn++;
    }
    return NULL;
}

static int yield(void)
{
    in_all(yields);
    CHECK_IS(turn, 20 * count);
    return 0;
}

/* Goes on until the last has done its share. */
static void *competes(void *arg)
{
    enum { SHARE = 200 };
    int me = (int)(intptr_t)arg;
    volatile double sum = 0;
    while (done < count) {
        for (int i = 1; i < 10000; i++)
            sum = sum + 1.0 / i;
        if (++progress[me].units == SHARE)
            done++;
    }
    return NULL;
}

static int compete(void)
{
    in_all(competes);
    CHECK_IS(done, count);
    for (int i = 0; i < count; i++)
        CHECK(progress[i].units > 0);
    return 0;
}

/* Half of them compute until the other half has slept often enough. */
static void *sleeps_or_computes(void *arg)
{
    int me = (int)(intptr_t)arg;
    if (me % 2 == 0) {
        for (int i = 0; i < 20; i++)
            sleep_ms(1);
        done++;
    } else {
        while (atomic_load_explicit(&done, memory_order_relaxed) < (count + 1) / 2)
            ;
    }
    return NULL;
}

static int sleep_beside(void)
{
    return in_all(sleeps_or_computes);
}

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static long protected_count;

static void *locks(void *arg)
{
    (void)arg;
    for (int i = 0; i < 2000; i++) {
        pthread_mutex_lock(&lock);
        long before = protected_count;
        if (i % 100 == 0)
            sched_yield();
        protected_count = before + 1;
        pthread_mutex_unlock(&lock);
    }
    return NULL;
}

static int share_a_lock(void)
{
    protected_count = 0;
    in_all(locks);
    CHECK_IS(protected_count, 2000L * count);
    return 0;
}

int main(int argc, char **argv)
{
    static const struct part parts[] = {
        {"meet", meet},
        {"spin", spin},
        {"yield", yield},
        {"compete", compete},
        {"sleep beside others", sleep_beside},
        {"share a lock", share_a_lock},
    };
    cpu_set_t set;
    CHECK(sched_getaffinity(0, sizeof set, &set) == 0);
    count = 4 * CPU_COUNT(&set);
    if (count > MOST_THREADS)
        count = MOST_THREADS;
    return RUN_PARTS(parts, argc, argv);
}
