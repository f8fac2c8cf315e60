// SPDX-License-Identifier: MIT OR Apache-2.0

// A test that fails says where, and makes its function return 1.

#pragma once

#include <errno.h>
#include <stdio.h>

#define CHECK(condition)                                                        \
    do {                                                                        \
        if (!(condition)) {                                                     \
            printf("%s:%d: %s (errno %d)\n", __FILE__, __LINE__, #condition, errno); \
            return 1;                                                           \
        }                                                                       \
    } while (0)

#define CHECK_ERRNO(call, expected)                                             \
    do {                                                                        \
        errno = 0;                                                              \
        long result_ = (long)(call);                                            \
        if (result_ != -1 || errno != (expected)) {                             \
            printf("%s:%d: %s: %ld, errno %d, expected " #expected "\n",        \
                   __FILE__, __LINE__, #call, result_, errno);                  \
            return 1;                                                           \
        }                                                                       \
    } while (0)
