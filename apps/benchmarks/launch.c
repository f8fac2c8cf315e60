// SPDX-License-Identifier: MIT OR Apache-2.0

// How long a program takes from posix_spawn to its end, in ms: the median of several times. The program's output
// goes to /dev/null; it has to exit with 0.
//
// For an isle the program is started by the proxy, and this one stays on Linux: `launch start_x proxy x`.

#include "bench.h"

#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

static const char synopsis[] =
    "usage: launch [-m] [-r REPETITIONS] NAME PROGRAM [ARGUMENT...]\n"
    "  -m  lines for a program to read\n"
    "  -r  how often (default 11), and once more before that\n"
    "  NAME is that of the result.\n";

/* Returns the time in ns, or -1. */
static double once(char **words)
{
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, 1, "/dev/null", O_WRONLY, 0);
    pid_t child;
    int status;
    double start = now_ns();
    int error = posix_spawnp(&child, words[0], &actions, NULL, words, environ);
    posix_spawn_file_actions_destroy(&actions);
    if (error) {
        fprintf(stderr, "launch: %s: %s\n", words[0], strerror(error));
        return -1;
    }
    pid_t ended;
    do
        ended = waitpid(child, &status, 0);
    while (ended < 0 && errno == EINTR);
    double time = now_ns() - start;
    if (ended != child || status != 0) {
        fprintf(stderr, "launch: %s ended with wait status %d\n", words[0], status);
        return -1;
    }
    return time;
}

int main(int argc, char **argv)
{
    int repetitions = 11, option;
    while ((option = getopt(argc, argv, "+mr:h")) != -1) {
        switch (option) {
        case 'm': machine = true; break;
        case 'r': repetitions = (int)number(optarg, 1, 10000); break;
        default: usage(synopsis, option);
        }
    }
    if (argc - optind < 2)
        usage(synopsis, '?');
    double *times = malloc((size_t)repetitions * sizeof *times);
    if (!times) {
        perror("launch");
        return 1;
    }
    for (int i = -1; i < repetitions; i++) {
        double time = once(argv + optind + 1);
        if (time < 0)
            return 1;
        /* The first one warms up: files are in memory then. */
        if (i >= 0)
            times[i] = time / 1e6;
    }
    result(argv[optind], median(times, (size_t)repetitions), "ms");
    return 0;
}
