// SPDX-License-Identifier: MIT OR Apache-2.0

// Two threads trade their CPUs, both at the same moment, over and over again: each comes to the CPU that the other one
// is just about to leave.

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "check.h"

#include <sched.h>
#include <stdatomic.h>

enum { ROUNDS = 3000 };

static int cpus[2];
static atomic_int arrived;

/* Spins, so that both go on together. */
static void meet(int round)
{
    arrived++;
    while (arrived < 2 * (round + 1))
        __builtin_ia32_pause();
}

static void *trade(void *argument)
{
    int me = *(int *)argument;
    for (int round = 0; round < ROUNDS; round++) {
        int cpu = cpus[(me + round) % 2];
        cpu_set_t set;
        CPU_ZERO(&set);
        CPU_SET(cpu, &set);
        meet(round);
        MUST(sched_setaffinity(0, sizeof set, &set) == 0);
        MUST(sched_getcpu() == cpu);
    }
    return NULL;
}

int main(void)
{
    cpu_set_t set;
    CHECK(sched_getaffinity(0, sizeof set, &set) == 0);
    int count = 0;
    for (int cpu = 0; cpu < CPU_SETSIZE && count < 2; cpu++)
        if (CPU_ISSET(cpu, &set))
            cpus[count++] = cpu;
    CHECK_IS(count, 2);
    pthread_t thread;
    int first = 0, second = 1;
    CHECK_IS(pthread_create(&thread, NULL, trade, &second), 0);
    trade(&first);
    CHECK_IS(pthread_join(thread, NULL), 0);
    printf("%d rounds\n", ROUNDS);
    return 0;
}
