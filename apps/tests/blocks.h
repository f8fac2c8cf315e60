// SPDX-License-Identifier: MIT OR Apache-2.0

// Blocks of memory filled with a pattern that their size and a number give, for the tests of malloc.

#pragma once

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

static inline uint64_t word_of(uint64_t seed, size_t i)
{
    return (seed + i + 1) * 0x9e3779b97f4a7c15;
}

/* Whole words, then the bytes that remain. */
static inline void fill(void *block, size_t size, uint64_t seed)
{
    unsigned char *at = block;
    size_t words = size / 8;
    for (size_t i = 0; i < words; i++) {
        uint64_t word = word_of(seed, i);
        memcpy(at + i * 8, &word, 8);
    }
    uint64_t rest = word_of(seed, words);
    memcpy(at + words * 8, &rest, size % 8);
}

static inline int is_filled(const void *block, size_t size, uint64_t seed)
{
    const unsigned char *at = block;
    size_t words = size / 8;
    for (size_t i = 0; i < words; i++) {
        uint64_t word = word_of(seed, i);
        if (memcmp(at + i * 8, &word, 8) != 0)
            return 0;
    }
    uint64_t rest = word_of(seed, words);
    return memcmp(at + words * 8, &rest, size % 8) == 0;
}

static inline uint32_t random_of(uint32_t *state)
{
    *state = *state * 1664525 + 1013904223;
    return *state >> 8;
}
