// SPDX-License-Identifier: MIT OR Apache-2.0

// Prints its arguments and a variable, echoes standard input if asked to ("-"), writes a file and
// reads it back. Prints the same on Linux and on an isle. "--exit N" sets the exit status.

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { LINES = 100 };

static int file_test(void)
{
    const char *dir = getenv("TMPDIR");
    char name[4096];
    if (snprintf(name, sizeof name, "%s/hello.%ld", dir ? dir : "/tmp", (long)getpid()) >= (int)sizeof name)
        return 0;
    FILE *f = fopen(name, "w");
    if (!f) {
        perror(name);
        return 0;
    }
    for (int i = 0; i < LINES; i++)
        fprintf(f, "line %d of a file\n", i);
    if (fclose(f) != 0) {
        perror(name);
        return 0;
    }
    f = fopen(name, "r");
    if (!f) {
        perror(name);
        return 0;
    }
    char line[64], expected[64];
    int good = 0;
    while (fgets(line, sizeof line, f)) {
        snprintf(expected, sizeof expected, "line %d of a file\n", good);
        if (strcmp(line, expected) != 0)
            break;
        good++;
    }
    fclose(f);
    if (unlink(name) != 0) {
        perror(name);
        return 0;
    }
    return good == LINES && access(name, F_OK) != 0;
}

int main(int argc, char **argv)
{
    int status = 0, echo = 0;
    const char *base = strrchr(argv[0], '/');
    printf("hello from C\n");
    for (int i = 0; i < argc; i++) {
        printf("argv[%d] = %s\n", i, i == 0 && base ? base + 1 : argv[i]);
        if (strcmp(argv[i], "-") == 0)
            echo = 1;
        if (strcmp(argv[i], "--exit") == 0 && i + 1 < argc)
            status = atoi(argv[i + 1]);
    }
    const char *variable = getenv("HELLO_ENV");
    printf("HELLO_ENV = %s\n", variable ? variable : "(not set)");
    if (echo) {
        char line[1024];
        while (fgets(line, sizeof line, stdin)) {
            line[strcspn(line, "\n")] = '\0';
            printf("stdin: %s\n", line);
            fflush(stdout);
        }
    }
    int good = file_test();
    printf("file: %s\n", good ? "ok" : "FAILED");
    printf("pi = %.6f\n", 4 * (1 - 1 / 3.0 + 1 / 5.0 - 1 / 7.0));
    if (fflush(stdout) != 0) {
        perror("stdout");
        return 1;
    }
    return good ? status : 1;
}
