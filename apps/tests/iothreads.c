// SPDX-License-Identifier: MIT OR Apache-2.0

// iothreads [SECONDS]: 64 threads do I/O at once, each on a file or a pipe of its own, and check what comes back. Meanwhile
// others wait for ever, and are in nobody's way.

#define _GNU_SOURCE
#include "check.h"
#include "tempdir.h"

#include <fcntl.h>
#include <stdatomic.h>
#include <sys/uio.h>

enum { FILES = 32, PIPES = 32, WAITING = 16, LEN = 256 << 10 };

static uint64_t deadline;
static _Atomic uint64_t rounds[FILES + PIPES];

/* What a thread writes in a round: it depends on both, and on the place. */
static void fill(uint32_t *words, size_t count, uint32_t seed)
{
    for (size_t i = 0; i < count; i++)
        words[i] = seed = seed * 1664525 + 1013904223;
}

static void *on_file(void *arg)
{
    size_t number = (size_t)arg, words = LEN / sizeof(uint32_t);
    char name[32];
    snprintf(name, sizeof name, "file-%zu", number);
    int fd = open(name, O_RDWR | O_CREAT | O_TRUNC, 0600);
    MUST(fd >= 0);
    uint32_t *out = malloc(LEN), *in = malloc(LEN);
    MUST(out != NULL && in != NULL);
    uint32_t round = 0;
    do {
        size_t len = LEN >> (round % 7 * 2);
        off_t at = (off_t)(round % 5) * 12345;
        fill(out, words, (uint32_t)number << 20 ^ round);
        struct iovec parts[] = {{out, len / 3}, {(char *)out + len / 3, len - len / 3}};
        MUST(pwritev(fd, parts, 2, at) == (ssize_t)len);
        memset(in, 0, len);
        MUST(pread(fd, in, len, at) == (ssize_t)len && memcmp(in, out, len) == 0);
        rounds[number]++;
    } while (round++, now(CLOCK_MONOTONIC) < deadline);
    MUST(close(fd) == 0);
    free(out), free(in);
    return NULL;
}

static void *on_pipe(void *arg)
{
    size_t number = (size_t)arg;
    int pipes[2];
    MUST(pipe(pipes) == 0);
    uint32_t out[500], in[500];
    uint32_t round = 0;
    do {
        fill(out, 500, (uint32_t)number << 20 ^ round);
        MUST(write(pipes[1], out, sizeof out) == sizeof out);
        MUST(read(pipes[0], in, sizeof in) == sizeof in && memcmp(in, out, sizeof in) == 0);
        rounds[number]++;
    } while (round++, now(CLOCK_MONOTONIC) < deadline);
    MUST(close(pipes[0]) == 0 && close(pipes[1]) == 0);
    return NULL;
}

static void *waiting(void *arg)
{
    char byte;
    MUST(read(*(int *)arg, &byte, 1) == 1);
    return NULL;
}

int main(int argc, char **argv)
{
    unsigned seconds = argc > 1 ? (unsigned)atoi(argv[1]) : 2;
    deadline = now(CLOCK_MONOTONIC) + seconds * 1000 * MS;
    enter_temp_dir();
    int blocked[2];
    CHECK(pipe(blocked) == 0);
    pthread_t threads[FILES + PIPES], sleepers[WAITING];
    for (size_t i = 0; i < WAITING; i++)
        sleepers[i] = start(waiting, &blocked[0]);
    for (size_t i = 0; i < FILES + PIPES; i++)
        threads[i] = start(i < FILES ? on_file : on_pipe, (void *)i);
    for (size_t i = 0; i < FILES + PIPES; i++)
        join(threads[i]);
    for (size_t i = 0; i < FILES + PIPES; i++)
        CHECK(rounds[i] > 0);
    char bytes[WAITING] = {0};
    CHECK(write(blocked[1], bytes, WAITING) == WAITING);
    for (size_t i = 0; i < WAITING; i++)
        join(sleepers[i]);
    puts("all right");
    return 0;
}
