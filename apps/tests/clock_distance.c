// SPDX-License-Identifier: MIT OR Apache-2.0

// How far the clocks of two systems are apart, say of an isle and of Linux.
//
//   clock_distance answer FROM TO         waits for questions in the pipe FROM and answers with its clocks in the pipe TO
//   clock_distance ask TO FROM SECONDS NS asks for so long; fails if a clock is ever provably more than NS apart
//
// The other side reads its clock after the question was asked and before the answer is there. So its time must be between
// the two that are taken here, whatever the way takes: no delay makes this fail, and a quick answer makes it sharp.

#include <fcntl.h>
#include <stdlib.h>

#include "check.h"

enum { CLOCKS = 2 };
static const clockid_t clocks[CLOCKS] = {CLOCK_MONOTONIC, CLOCK_REALTIME};
static const char *const names[CLOCKS] = {"CLOCK_MONOTONIC", "CLOCK_REALTIME"};

static int answer(int from, int to)
{
    uint64_t times[CLOCKS];
    char question;
    while (read(from, &question, 1) == 1) {
        for (int i = 0; i < CLOCKS; i++)
            times[i] = now(clocks[i]);
        CHECK(write(to, times, sizeof times) == sizeof times);
    }
    return 0;
}

static int ask(int to, int from, long seconds, int64_t allowed)
{
    uint64_t end = now(CLOCK_MONOTONIC) + (uint64_t)seconds * 1000 * MS;
    int64_t sharpest = INT64_MAX, worst = 0;
    do {
        uint64_t before[CLOCKS], theirs[CLOCKS];
        for (int i = 0; i < CLOCKS; i++)
            before[i] = now(clocks[i]);
        CHECK(write(to, "?", 1) == 1);
        CHECK(read(from, theirs, sizeof theirs) == sizeof theirs);
        for (int i = 0; i < CLOCKS; i++) {
            uint64_t after = now(clocks[i]);
            int64_t early = (int64_t)(before[i] - theirs[i]), late = (int64_t)(theirs[i] - after);
            int64_t apart = early > late ? early : late;
            if (apart > worst)
                worst = apart;
            if ((int64_t)(after - before[i]) < sharpest)
                sharpest = (int64_t)(after - before[i]);
            if (apart > allowed) {
                fprintf(stderr, "%s: asked at %lu, the other clock said %lu, answer at %lu: %ld ns apart\n", names[i],
                        before[i], theirs[i], after, apart);
                return 1;
            }
        }
        sleep_ms(5);
    } while (now(CLOCK_MONOTONIC) < end);
    printf("provably apart: %ld ns at most, by questions that took %ld ns at least\n", worst, sharpest);
    return 0;
}

int main(int argc, char **argv)
{
    if (argc == 4 && strcmp(argv[1], "answer") == 0) {
        int from = open(argv[2], O_RDONLY), to = open(argv[3], O_WRONLY);
        CHECK(from >= 0 && to >= 0);
        return answer(from, to);
    }
    if (argc == 6 && strcmp(argv[1], "ask") == 0) {
        int to = open(argv[2], O_WRONLY), from = open(argv[3], O_RDONLY);
        CHECK(from >= 0 && to >= 0);
        return ask(to, from, atol(argv[4]), atol(argv[5]));
    }
    fprintf(stderr, "usage: clock_distance answer FROM TO | ask TO FROM SECONDS NS\n");
    return 2;
}
