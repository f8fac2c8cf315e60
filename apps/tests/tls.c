// SPDX-License-Identifier: MIT OR Apache-2.0

// Thread-local storage: initial values, alignment, a copy for each thread that nobody else changes, also over
// pre-emption and signals, and keys with destructors.

#define _GNU_SOURCE
#include <limits.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "check.h"

enum { THREADS = 12 };

static __thread int initialized = 12345;
static __thread long zero;
static __thread struct { char bytes[4096]; } aligned __attribute__((aligned(256)));
static __thread char text[32] = "initial text";
static __thread volatile uint64_t counter;

static pthread_barrier_t barrier;
static uintptr_t addresses[THREADS + 1];

static void *uses(void *arg)
{
    int me = (int)(intptr_t)arg;
    MUST(initialized == 12345 && zero == 0 && strcmp(text, "initial text") == 0);
    MUST((uintptr_t)&aligned % 256 == 0);
    for (size_t i = 0; i < sizeof aligned.bytes; i++)
        MUST(aligned.bytes[i] == 0);
    addresses[me] = (uintptr_t)&initialized;
    initialized = me;
    zero = -me;
    snprintf(text, sizeof text, "text of %d", me);
    memset(aligned.bytes, me, sizeof aligned.bytes);
    pthread_barrier_wait(&barrier);
    for (uint64_t i = 1; i <= 1000000; i++) {
        counter = counter + (uint64_t)me + 1;
        MUST(counter == i * ((uint64_t)me + 1));
    }
    errno = me;
    pthread_barrier_wait(&barrier);
    char expected[32];
    snprintf(expected, sizeof expected, "text of %d", me);
    MUST(errno == me && initialized == me && zero == -me && strcmp(text, expected) == 0);
    for (size_t i = 0; i < sizeof aligned.bytes; i++)
        MUST(aligned.bytes[i] == me);
    return NULL;
}

static int each_has_its_own(void)
{
    pthread_t threads[THREADS];
    for (int round = 0; round < 2; round++) {
        CHECK(pthread_barrier_init(&barrier, NULL, THREADS) == 0);
        for (int i = 0; i < THREADS; i++)
            threads[i] = start(uses, (void *)(intptr_t)i);
        for (int i = 0; i < THREADS; i++)
            join(threads[i]);
        addresses[THREADS] = (uintptr_t)&initialized;
        for (int i = 0; i <= THREADS; i++)
            for (int j = 0; j < i; j++)
                CHECK(addresses[i] != addresses[j]);
        CHECK(initialized == 12345 && zero == 0);
        CHECK(pthread_barrier_destroy(&barrier) == 0);
    }
    return 0;
}

/* A handler has the storage of the thread that it runs in. */

static __thread volatile int handled;

static void handler(int number)
{
    (void)number;
    handled++;
}

static void *gets_signals(void *arg)
{
    int wanted = (int)(intptr_t)arg;
    for (int i = 0; i < wanted; i++)
        MUST(pthread_kill(pthread_self(), SIGUSR1) == 0);
    MUST(handled == wanted);
    return NULL;
}

static int in_handlers(void)
{
    pthread_t threads[THREADS];
    struct sigaction action = {.sa_handler = handler};
    CHECK(sigaction(SIGUSR1, &action, NULL) == 0);
    for (int i = 0; i < THREADS; i++)
        threads[i] = start(gets_signals, (void *)(intptr_t)(i * 10));
    for (int i = 0; i < THREADS; i++)
        join(threads[i]);
    CHECK(handled == 0);
    return 0;
}

/* Keys. */

static pthread_key_t plain_key, key, stubborn_key;
static atomic_int destroyed, stubborn;

static void destroy(void *value)
{
    MUST(pthread_getspecific(key) == NULL);
    destroyed++;
    free(value);
}

/* Sets itself again, which goes on only so long. */
static void destroy_again(void *value)
{
    stubborn++;
    MUST(pthread_setspecific(stubborn_key, value) == 0);
}

static void *uses_keys(void *arg)
{
    MUST(pthread_getspecific(key) == NULL && pthread_getspecific(plain_key) == NULL);
    MUST(pthread_setspecific(plain_key, arg) == 0);
    int *value = malloc(sizeof *value);
    MUST(value && pthread_setspecific(key, value) == 0);
    *value = (int)(intptr_t)arg;
    sched_yield();
    MUST(pthread_getspecific(plain_key) == arg && *(int *)pthread_getspecific(key) == (int)(intptr_t)arg);
    if (arg == NULL)
        MUST(pthread_setspecific(stubborn_key, &destroyed) == 0);
    if ((intptr_t)arg % 2)
        pthread_exit(arg);
    return arg;
}

static void *uses_no_keys(void *arg)
{
    return arg;
}

static int keys(void)
{
    pthread_t threads[THREADS];
    CHECK(pthread_key_create(&plain_key, NULL) == 0 && pthread_key_create(&key, destroy) == 0);
    CHECK(pthread_key_create(&stubborn_key, destroy_again) == 0);
    for (int i = 0; i < THREADS; i++)
        threads[i] = start(uses_keys, (void *)(intptr_t)i);
    for (int i = 0; i < THREADS; i++)
        CHECK(join(threads[i]) == (void *)(intptr_t)i);
    CHECK_IS(destroyed, THREADS);
    CHECK(stubborn >= 1 && stubborn <= PTHREAD_DESTRUCTOR_ITERATIONS);
    join(start(uses_no_keys, NULL));
    CHECK_IS(destroyed, THREADS);
    CHECK(pthread_key_delete(key) == 0 && pthread_key_delete(plain_key) == 0 && pthread_key_delete(stubborn_key) == 0);
    /* A key that is used again has no old values. */
    pthread_key_t many[100];
    for (int i = 0; i < 100; i++) {
        CHECK(pthread_key_create(&many[i], NULL) == 0);
        CHECK(pthread_getspecific(many[i]) == NULL);
        CHECK(pthread_setspecific(many[i], &many[i]) == 0);
    }
    for (int i = 0; i < 100; i++) {
        CHECK(pthread_getspecific(many[i]) == &many[i]);
        CHECK(pthread_key_delete(many[i]) == 0);
    }
    return 0;
}

int main(int argc, char **argv)
{
    static const struct part parts[] = {
        {"each has its own", each_has_its_own},
        {"in handlers", in_handlers},
        {"keys", keys},
    };
    return RUN_PARTS(parts, argc, argv);
}
