// SPDX-License-Identifier: MIT OR Apache-2.0

// A directory for what a test makes, removed at its end.

#pragma once

#include <ftw.h>
#include <stdlib.h>

#include "check.h"

static char temp_dir[] = "/tmp/hermit-test-XXXXXX";

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st, (void)type, (void)ftw;
    return remove(path);
}

static void remove_temp_dir(void)
{
    if (chdir("/") == 0)
        nftw(temp_dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

/* Makes it, and goes there. */
static inline void enter_temp_dir(void)
{
    MUST(mkdtemp(temp_dir) != NULL);
    MUST(atexit(remove_temp_dir) == 0);
    MUST(chdir(temp_dir) == 0);
}
