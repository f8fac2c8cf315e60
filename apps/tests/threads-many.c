// SPDX-License-Identifier: MIT OR Apache-2.0

// Many threads: 10,000 one after the other, 1,000 alive at once, and detached ones that nobody waits for.

#define _GNU_SOURCE
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/syscall.h>

#include "check.h"

enum { ALIVE = 1000, IN_TURN = 10000, AT_A_TIME = 4 };

static pthread_t threads[ALIVE];
static pid_t ids[ALIVE];
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static int arrived, open_;

static void *waits(void *arg)
{
    int me = (int)(intptr_t)arg;
    ids[me] = (pid_t)syscall(SYS_gettid);
    pthread_mutex_lock(&lock);
    arrived++;
    pthread_cond_broadcast(&changed);
    while (!open_)
        pthread_cond_wait(&changed, &lock);
    pthread_mutex_unlock(&lock);
    return (void *)(intptr_t)(me + 1);
}

static int by_number(const void *a, const void *b)
{
    pid_t first = *(const pid_t *)a, second = *(const pid_t *)b;
    return (first > second) - (first < second);
}

static int alive_at_once(void)
{
    arrived = open_ = 0;
    for (int i = 0; i < ALIVE; i++)
        threads[i] = start(waits, (void *)(intptr_t)i);
    pthread_mutex_lock(&lock);
    while (arrived < ALIVE)
        pthread_cond_wait(&changed, &lock);
    /* All have ids of their own. */
    qsort(ids, ALIVE, sizeof *ids, by_number);
    for (int i = 1; i < ALIVE; i++)
        CHECK(ids[i] > ids[i - 1]);
    open_ = 1;
    pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&lock);
    for (int i = 0; i < ALIVE; i++)
        CHECK_IS((intptr_t)join(threads[i]), i + 1);
    return 0;
}

static void *adds_one(void *arg)
{
    (*(atomic_int *)arg)++;
    return arg;
}

static int in_turn(void)
{
    atomic_int sum = 0;
    for (int i = 0; i < IN_TURN; i += AT_A_TIME) {
        for (int j = 0; j < AT_A_TIME; j++)
            threads[j] = start(adds_one, &sum);
        for (int j = 0; j < AT_A_TIME; j++)
            CHECK(join(threads[j]) == &sum);
        CHECK_IS(sum, i + AT_A_TIME);
    }
    return 0;
}

static atomic_int detached_count;

static int detached(void)
{
    pthread_attr_t attributes;
    CHECK(pthread_attr_init(&attributes) == 0);
    CHECK(pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED) == 0);
    for (int i = 0; i < 1000; i++) {
        pthread_t thread;
        CHECK(pthread_create(&thread, i % 2 ? &attributes : NULL, adds_one, &detached_count) == 0);
        if (i % 2 == 0)
            CHECK(pthread_detach(thread) == 0);
    }
    while (detached_count < 1000)
        sleep_ms(1);
    return 0;
}

/* Each thread makes the next one, and joins it. */
static void *makes_another(void *arg)
{
    intptr_t left = (intptr_t)arg;
    if (left == 0)
        return NULL;
    return (char *)join(start(makes_another, (void *)(left - 1))) + 1;
}

static int nested(void)
{
    CHECK_IS((intptr_t)join(start(makes_another, (void *)200)), 200);
    return 0;
}

int main(int argc, char **argv)
{
    static const struct part parts[] = {
        {"alive at once", alive_at_once},
        {"in turn", in_turn},
        {"detached", detached},
        {"nested", nested},
        {"alive at once again", alive_at_once},
    };
    return RUN_PARTS(parts, argc, argv);
}
