// SPDX-License-Identifier: MIT OR Apache-2.0

// What a program finds on its stack when it starts: arguments, environment, auxiliary vector. Prints all
// arguments, and the variables that begin with HELLO_.

#define _GNU_SOURCE
#include <elf.h>
#include <link.h>
#include <stdlib.h>
#include <sys/auxv.h>

#include "check.h"

extern char **environ;
extern const ElfW(Ehdr) __ehdr_start;

static const char *base_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

static int by_text(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* The strings are behind each other, above the vectors. */
static int is_in_order(int argc, char **argv, char **envp)
{
    CHECK(envp == argv + argc + 1 && envp == environ);
    uintptr_t end = 0;
    for (char **string = argv; string == argv + argc || *string; string++) {
        if (string == argv + argc)
            continue; /* the NULL between */
        CHECK((uintptr_t)*string >= end && (uintptr_t)*string > (uintptr_t)string);
        end = (uintptr_t)*string + strlen(*string) + 1;
    }
    return 0;
}

static int auxiliary_vector(const char *name, char **envp)
{
    while (*envp)
        envp++;
    const ElfW(auxv_t) *aux = (const ElfW(auxv_t) *)(envp + 1);
    int entries = 0;
    for (; aux->a_type != AT_NULL; aux++) {
        /* glibc puts its own capabilities there. */
        CHECK(aux->a_type == AT_HWCAP || aux->a_type == AT_HWCAP2 || getauxval(aux->a_type) == aux->a_un.a_val);
        CHECK(++entries < 50);
    }
    CHECK_IS(getauxval(AT_PAGESZ), 4096);
    CHECK_IS(getauxval(AT_CLKTCK), 100);
    CHECK(getauxval(AT_UID) == getuid() && getauxval(AT_EUID) == geteuid());
    CHECK(getauxval(AT_GID) == getgid() && getauxval(AT_EGID) == getegid());
    CHECK(getauxval(AT_SECURE) == 0 && getauxval(AT_BASE) == 0 && getauxval(AT_HWCAP) != 0);
    CHECK(strcmp((const char *)getauxval(AT_PLATFORM), "x86_64") == 0);
    CHECK(strcmp(base_name((const char *)getauxval(AT_EXECFN)), name) == 0);
    const unsigned char *random = (const unsigned char *)getauxval(AT_RANDOM);
    int sum = 0;
    for (int i = 0; i < 16; i++)
        sum |= random[i];
    CHECK(sum != 0);
    /* This program's own headers. */
    const ElfW(Phdr) *headers = (const ElfW(Phdr) *)getauxval(AT_PHDR);
    CHECK((const char *)headers == (const char *)&__ehdr_start + __ehdr_start.e_phoff);
    CHECK_IS(getauxval(AT_PHENT), sizeof *headers);
    CHECK_IS(getauxval(AT_PHNUM), __ehdr_start.e_phnum);
    CHECK(getauxval(AT_ENTRY) == __ehdr_start.e_entry + (__ehdr_start.e_type == ET_DYN ? (uintptr_t)&__ehdr_start : 0));
    int loads = 0, tls = 0;
    for (size_t i = 0; i < getauxval(AT_PHNUM); i++) {
        loads += headers[i].p_type == PT_LOAD;
        tls += headers[i].p_type == PT_TLS;
    }
    CHECK(loads > 0 && tls <= 1);
    return 0;
}

int main(int argc, char **argv, char **envp)
{
    for (int i = 0; i < argc; i++)
        printf("argv[%d] = [%s]\n", i, i == 0 ? base_name(argv[i]) : argv[i]);
    CHECK(argv[argc] == NULL);
    size_t count = 0;
    char *sorted[64];
    for (char **variable = envp; *variable; variable++)
        if (strncmp(*variable, "HELLO_", 6) == 0 && count < sizeof sorted / sizeof *sorted)
            sorted[count++] = *variable;
    qsort(sorted, count, sizeof *sorted, by_text);
    for (size_t i = 0; i < count; i++)
        printf("%s\n", sorted[i]);
    CHECK(setenv("HELLO_NEW", "new", 1) == 0 && strcmp(getenv("HELLO_NEW"), "new") == 0);
    environ = envp;
    if (is_in_order(argc, argv, envp) != 0 || auxiliary_vector(base_name(argv[0]), envp) != 0)
        return 1;
    puts("ok");
    return 0;
}
