// SPDX-License-Identifier: MIT OR Apache-2.0

// Threads say hello, one after the other; each has an argument, a result and an id of its own.

#define _GNU_SOURCE
#include <sys/syscall.h>

#include "check.h"

enum { THREADS = 8 };

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static int turn;
static pid_t ids[THREADS];

static void *hello(void *arg)
{
    int i = (int)(intptr_t)arg;
    MUST(pthread_mutex_lock(&lock) == 0);
    while (turn != i)
        MUST(pthread_cond_wait(&changed, &lock) == 0);
    ids[i] = (pid_t)syscall(SYS_gettid);
    printf("hello from thread %d of %d\n", i, THREADS);
    turn++;
    MUST(pthread_cond_broadcast(&changed) == 0);
    MUST(pthread_mutex_unlock(&lock) == 0);
    return (void *)(intptr_t)(i * i);
}

int main(void)
{
    pthread_t threads[THREADS];
    /* The last is started first. */
    for (int i = THREADS - 1; i >= 0; i--)
        threads[i] = start(hello, (void *)(intptr_t)i);
    long sum = 0;
    for (int i = 0; i < THREADS; i++)
        sum += (intptr_t)join(threads[i]);
    for (int i = 0; i < THREADS; i++) {
        CHECK(ids[i] > 0 && ids[i] != getpid());
        for (int j = 0; j < i; j++)
            CHECK(ids[i] != ids[j]);
    }
    CHECK(syscall(SYS_gettid) == getpid());
    printf("sum of their results: %ld\n", sum);
    return 0;
}
