// SPDX-License-Identifier: MIT OR Apache-2.0

// What the tests have in common. A check that fails says where, on standard error.

#pragma once

#include <errno.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* Makes the function it is in return 1. */
#define CHECK(condition)                                                        \
    do {                                                                        \
        if (!(condition)) {                                                     \
            fprintf(stderr, "%s:%d: %s (errno %d)\n", __FILE__, __LINE__, #condition, errno); \
            return 1;                                                           \
        }                                                                       \
    } while (0)

#define CHECK_ERRNO(call, expected)                                             \
    do {                                                                        \
        errno = 0;                                                              \
        long result_ = (long)(call);                                            \
        if (result_ != -1 || errno != (expected)) {                             \
            fprintf(stderr, "%s:%d: %s: %ld, errno %d, expected %s\n",          \
                    __FILE__, __LINE__, #call, result_, errno, #expected);      \
            return 1;                                                           \
        }                                                                       \
    } while (0)

/* For what returns a number that matters, say an error of pthreads. */
#define CHECK_IS(value, expected)                                               \
    do {                                                                        \
        long value_ = (long)(value), expected_ = (long)(expected);              \
        if (value_ != expected_) {                                              \
            fprintf(stderr, "%s:%d: %s: %ld, expected %s (%ld)\n",              \
                    __FILE__, __LINE__, #value, value_, #expected, expected_);  \
            return 1;                                                           \
        }                                                                       \
    } while (0)

/* Where there is nobody to return to: ends the program. */
#define MUST(condition)                                                         \
    do {                                                                        \
        if (!(condition)) {                                                     \
            fprintf(stderr, "%s:%d: %s (errno %d)\n", __FILE__, __LINE__, #condition, errno); \
            fflush(stdout);                                                     \
            _exit(1);                                                           \
        }                                                                       \
    } while (0)

struct part { const char *name; int (*run)(void); };

/* Runs all parts, or those that the arguments name. Returns the exit status. */
static inline int run_parts(const struct part *parts, size_t count, int argc, char **argv)
{
    int status = 0, found = argc < 2;
    for (size_t i = 0; i < count; i++) {
        int wanted = argc < 2;
        for (int arg = 1; arg < argc; arg++)
            wanted |= strcmp(argv[arg], parts[i].name) == 0;
        if (!wanted)
            continue;
        found = 1;
        printf("%s: ", parts[i].name);
        fflush(stdout);
        int failed = parts[i].run();
        printf("%s\n", failed ? "FAILED" : "ok");
        fflush(stdout);
        status |= failed;
    }
    if (found)
        return status;
    for (size_t i = 0; i < count; i++)
        fprintf(stderr, "%s '%s'\n", argv[0], parts[i].name);
    return 2;
}

#define RUN_PARTS(parts, argc, argv) run_parts(parts, sizeof (parts) / sizeof *(parts), argc, argv)

static inline uint64_t now(clockid_t clock)
{
    struct timespec t;
    MUST(clock_gettime(clock, &t) == 0);
    return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

#define MS ((uint64_t)1000000)

static inline struct timespec timespec_of(uint64_t ns)
{
    return (struct timespec){.tv_sec = (time_t)(ns / 1000000000), .tv_nsec = (long)(ns % 1000000000)};
}

/* Sleeps for so long, whatever signals come. */
static inline void sleep_ms(unsigned ms)
{
    struct timespec t = timespec_of(now(CLOCK_MONOTONIC) + ms * MS);
    while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, NULL) == EINTR)
        ;
}

static inline pthread_t start(void *(*run)(void *), void *arg)
{
    pthread_t thread;
    MUST(pthread_create(&thread, NULL, run, arg) == 0);
    return thread;
}

static inline void *join(pthread_t thread)
{
    void *result;
    MUST(pthread_join(thread, &result) == 0);
    return result;
}
