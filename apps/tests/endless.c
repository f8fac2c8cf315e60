// SPDX-License-Identifier: MIT OR Apache-2.0

// OpenMP threads compute until SIGINT or SIGTERM comes. The handler says so and ends the program with status 40 plus
// the signal's number.

#define _GNU_SOURCE
#include <signal.h>

#include "check.h"

static void bye(int number)
{
    const char *text = number == SIGINT ? "SIGINT came\n" : "SIGTERM came\n";
    if (write(1, text, strlen(text)) < 0)
        _exit(1);
    _exit(40 + number);
}

int main(void)
{
    struct sigaction action = {.sa_handler = bye};
    sigfillset(&action.sa_mask);
    CHECK(sigaction(SIGINT, &action, NULL) == 0 && sigaction(SIGTERM, &action, NULL) == 0);
    puts("computing");
    fflush(stdout);
    for (double sum = 0; sum >= 0;) {
#pragma omp parallel for num_threads(4) reduction(+ : sum)
        for (long i = 1; i <= 1000000; i++)
            sum += 1.0 / ((double)i * (double)i);
    }
    return 1;
}
