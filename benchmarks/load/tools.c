/* Buffers, the times that bodies carry, and histograms of durations. */
#define _GNU_SOURCE
#include "load.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

_Noreturn void fail(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    fputs("load: ", stderr);
    vfprintf(stderr, format, arguments);
    fputc('\n', stderr);
    exit(1);
}

/* --- buffers --- */

char *room(struct buffer *b, size_t size)
{
    if (b->start == b->end)
        b->start = b->end = 0;
    if (b->end + size > b->capacity && b->start > 0) {
        memmove(b->data, b->data + b->start, b->end - b->start);
        b->end -= b->start;
        b->start = 0;
    }
    if (b->end + size > b->capacity) {
        b->capacity = 2 * (b->end + size);
        b->data = realloc(b->data, b->capacity);
        if (b->data == NULL)
            fail("out of memory");
    }
    char *place = b->data + b->end;
    b->end += size;
    return place;
}

void append(struct buffer *b, const void *data, size_t size) { memcpy(room(b, size), data, size); }

void appendf(struct buffer *b, const char *format, ...)
{
    char text[1024];
    va_list arguments;
    va_start(arguments, format);
    int size = vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    if (size < 0 || (size_t)size >= sizeof text)
        fail("too long for a request: %s", format);
    append(b, text, (size_t)size);
}

void stamp(char *place, uint64_t ns)
{
    for (int i = STAMP_SIZE - 1; i >= 0; i--, ns >>= 4)
        place[i] = "0123456789abcdef"[ns & 15];
}

void append_body(struct buffer *b, uint64_t ns)
{
    char *body = room(b, options.body_size);
    stamp(body, ns);
    memset(body + STAMP_SIZE, 'x', options.body_size - STAMP_SIZE);
}

uint64_t read_stamp(const char *body)
{
    uint64_t ns = 0;
    for (int i = 0; i < STAMP_SIZE; i++)
        ns = ns << 4 | (uint64_t)(body[i] <= '9' ? body[i] - '0' : body[i] - 'a' + 10);
    return ns;
}

/* --- measurements --- */

void record(struct histogram *h, uint64_t ns)
{
    int shift = ns < 64 ? 0 : 58 - __builtin_clzll(ns);
    h->counts[shift * 64 + (int)(ns >> shift)]++;
    h->total++;
    if (ns > h->largest)
        h->largest = ns;
}

double quantile_us(const struct histogram *h, double q)
{
    uint64_t wanted = (uint64_t)(q * (double)h->total), seen = 0;
    for (int i = 0; i < HISTOGRAM_SIZE; i++) {
        seen += h->counts[i];
        if (h->counts[i] && seen > wanted) {
            int shift = i < 64 ? 0 : i / 64;
            uint64_t step = i < 64 ? (uint64_t)i : (uint64_t)(i - shift * 64);
            uint64_t middle = (step << shift) + ((1ull << shift) >> 1);
            return (double)(middle < h->largest ? middle : h->largest) / 1000;
        }
    }
    return (double)h->largest / 1000;
}
