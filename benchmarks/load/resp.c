/* RESP: the broker's own commands, and Redis streams. */
#include "load.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A request that is the same but for its time, encoded once. */
static struct buffer template;
static size_t stamp_at;

static void append_bulk(struct buffer *b, const char *text)
{
    appendf(b, "$%zu\r\n%s\r\n", strlen(text), text);
}

static void append_words(struct buffer *b, int count, ...)
{
    va_list words;
    va_start(words, count);
    appendf(b, "*%d\r\n", count);
    for (int i = 0; i < count; i++)
        append_bulk(b, va_arg(words, const char *));
    va_end(words);
}

static void append_body_bulk(struct buffer *b)
{
    appendf(b, "$%zu\r\n", options.body_size);
    stamp_at = b->end;
    append_body(b, 0);
    append(b, "\r\n", 2);
}

static void send_template(struct connection *c, uint64_t ns)
{
    char *place = room(&c->out, template.end);
    memcpy(place, template.data, template.end);
    stamp(place + stamp_at, ns);
}

/* The end of the line that begins at p, behind its CR LF; NULL if it is not all there. */
static const char *line_end(const char *p, const char *end)
{
    const char *newline = memchr(p, '\n', (size_t)(end - p));
    return newline ? newline + 1 : NULL;
}

/* The end of the value that begins at p; NULL if it is not all there. An error ends the run. */
static const char *skip(const char *p, const char *end)
{
    if (p >= end)
        return NULL;
    const char *next = line_end(p, end);
    if (next == NULL)
        return NULL;
    long n = 0;
    switch (*p) {
    case '-':
    case '!':
        fail("refused: %.*s", (int)(next - p - 2), p);
    case '$':
    case '=':
        n = atol(p + 1);
        if (n < 0)
            return next;
        return end - next >= n + 2 ? next + n + 2 : NULL;
    case '*':
    case '>':
    case '~':
        n = atol(p + 1);
        break;
    case '%':
        n = 2 * atol(p + 1);
        break;
    default:
        return next;
    }
    for (; n > 0 && next != NULL; n--)
        next = skip(next, end);
    return next;
}

/* The text of the bulk string at p. */
static const char *bulk(const char *p, const char *end, size_t *size)
{
    *size = (size_t)atol(p + 1);
    return line_end(p, end);
}

static const char *read_one(struct connection *c)
{
    const char *next;
    while ((next = skip(unread(&c->in), c->in.data + c->in.end)) == NULL)
        read_blocking(c);
    return next;
}

static void call(struct connection *c)
{
    write_blocking(c);
    const char *next = read_one(c);
    c->in.start = (size_t)(next - c->in.data);
}

static void add_receipt(struct buffer *b, const char *text, size_t size)
{
    appendf(b, "$%zu\r\n", size);
    append(b, text, size);
    append(b, "\r\n", 2);
}

/* --- the broker --- */

static void broker_open(struct connection *c)
{
    append_words(&c->out, 5, "HELLO", "3", "AUTH", options.user, options.password);
    call(c);
    if (c->group->role == CONSUME) {
        char prefetch[16];
        snprintf(prefetch, sizeof prefetch, "%d", c->group->window);
        append_words(&c->out, 5, "QUEUE", "CONSUME", options.queue, "PREFETCH", prefetch);
        call(c);
    }
    if (template.end > 0)
        return;
    appendf(&template, "*4\r\n");
    append_bulk(&template, options.publish ? "CHANNEL" : "QUEUE");
    append_bulk(&template, options.publish ? "PUBLISH" : "SEND");
    append_bulk(&template, options.queue);
    append_body_bulk(&template);
}

static void broker_send(struct connection *c, uint64_t tag, uint64_t ns)
{
    (void)tag;
    send_template(c, ns);
}

static void broker_pull(struct connection *c, int count)
{
    char text[16];
    snprintf(text, sizeof text, "%d", count);
    if (count == 1)
        append_words(&c->out, 3, "QUEUE", "PULL", options.queue);
    else
        append_words(&c->out, 5, "QUEUE", "PULL", options.queue, "COUNT", text);
}

static void broker_ack(struct connection *c)
{
    appendf(&c->out, "*%d\r\n$7\r\nMESSAGE\r\n$3\r\nACK\r\n", c->receipt_count + 2);
    append(&c->out, unread(&c->receipts), unread_size(&c->receipts));
}

/* The message that is the map at p; returns where it ends. */
static const char *broker_message(struct connection *c, const char *p, const char *end)
{
    const char *body = NULL, *receipt = NULL;
    size_t body_size = 0, receipt_size = 0, size;
    long pairs = atol(p + 1);
    if (*p != '%')
        fail("no message: %.20s", p);
    p = line_end(p, end);
    for (; pairs > 0; pairs--) {
        const char *key = bulk(p, end, &size);
        const char *value = skip(p, end);
        if (size == 4 && memcmp(key, "body", 4) == 0)
            body = bulk(value, end, &body_size);
        else if (size == 7 && memcmp(key, "receipt", 7) == 0)
            receipt = bulk(value, end, &receipt_size);
        p = skip(value, end);
    }
    if (body == NULL || receipt == NULL)
        fail("a message without a body or a receipt");
    struct buffer text = {0};
    char place[256];
    text.data = place;
    text.capacity = sizeof place;
    add_receipt(&text, receipt, receipt_size);
    on_message(c, text.data, text.end, body, body_size);
    return p;
}

static void broker_reply(struct connection *c, const char *p, const char *end)
{
    if (c->group->role == SEND) {
        if (*p != ':')
            fail("no id: %.20s", p);
        on_sent_up_to(c, c->next_answer + 1);
    } else if (*p == '>') {
        p = skip(line_end(p, end), end); /* the word "message" */
        broker_message(c, p, end);
    } else if (c->pulling) {
        if (*p == '%')
            broker_message(c, p, end);
        else if (*p == '*') {
            long count = atol(p + 1);
            for (p = line_end(p, end); count > 0; count--)
                p = broker_message(c, p, end);
        }
        on_pull_end(c);
    } else {
        int count = *p == '*' ? atoi(p + 1) : 1;
        on_acked(c, count);
    }
}

static void parse_with(struct connection *c, void (*reply)(struct connection *, const char *, const char *))
{
    const char *next;
    while ((next = skip(unread(&c->in), c->in.data + c->in.end)) != NULL) {
        const char *value = unread(&c->in);
        c->in.start = (size_t)(next - c->in.data);
        reply(c, value, next);
    }
}

static void broker_parse(struct connection *c) { parse_with(c, broker_reply); }

const struct protocol broker_protocol = {
    .name = "broker", .open = broker_open, .send = broker_send, .pull = broker_pull,
    .ack = broker_ack, .parse = broker_parse, .acks_are_answered = true, .pushes = true,
};

/* --- Redis streams, with a consumer group "group" --- */

static void redis_open(struct connection *c)
{
    (void)c;
    if (template.end > 0)
        return;
    int copies = options.publish ? options.copies : 1;
    if (options.publish)
        append_words(&template, 1, "MULTI");
    for (int i = 0; i < copies; i++) {
        char stream[256];
        snprintf(stream, sizeof stream, options.publish ? "%s.%d" : "%s", options.queue, i);
        appendf(&template, "*5\r\n");
        append_bulk(&template, "XADD");
        append_bulk(&template, stream);
        append_bulk(&template, "*");
        append_bulk(&template, "b");
        append_body_bulk(&template);
    }
    if (options.publish)
        append_words(&template, 1, "EXEC");
}

static void redis_send(struct connection *c, uint64_t tag, uint64_t ns)
{
    (void)tag;
    send_template(c, ns);
}

static void redis_pull(struct connection *c, int count)
{
    char text[16], consumer[16];
    snprintf(text, sizeof text, "%d", count);
    snprintf(consumer, sizeof consumer, "c%d", c->number);
    if (c->group->role == CONSUME)
        append_words(&c->out, 11, "XREADGROUP", "GROUP", "group", consumer, "COUNT", text, "BLOCK", "0",
                     "STREAMS", options.queue, ">");
    else
        append_words(&c->out, 9, "XREADGROUP", "GROUP", "group", consumer, "COUNT", text, "STREAMS",
                     options.queue, ">");
}

static void redis_ack(struct connection *c)
{
    appendf(&c->out, "*%d\r\n$4\r\nXACK\r\n", c->receipt_count + 3);
    append_bulk(&c->out, options.queue);
    append_bulk(&c->out, "group");
    append(&c->out, unread(&c->receipts), unread_size(&c->receipts));
}

/* *1 *2 STREAM *N [*2 ID *2 FIELD BODY] ... */
static void redis_messages(struct connection *c, const char *p, const char *end)
{
    p = line_end(p, end);
    p = skip(line_end(p, end), end);
    long count = atol(p + 1);
    for (p = line_end(p, end); count > 0; count--) {
        const char *id = line_end(p, end), *id_end = skip(id, end);
        const char *field = line_end(id_end, end), *value = skip(field, end);
        size_t size;
        const char *body = bulk(value, end, &size);
        on_message(c, id, (size_t)(id_end - id), body, size);
        p = skip(value, end);
    }
}

static void redis_reply(struct connection *c, const char *p, const char *end)
{
    if (c->group->role == SEND) {
        uint64_t parts = options.publish ? (uint64_t)options.copies + 2 : 1;
        if (++c->reply_part < parts)
            return;
        c->reply_part = 0;
        on_sent_up_to(c, c->next_answer + 1);
    } else if (*p == ':') {
        on_acked(c, atoi(p + 1));
    } else {
        if (p[1] != '-')
            redis_messages(c, p, end);
        on_pull_end(c);
    }
}

static void redis_parse(struct connection *c) { parse_with(c, redis_reply); }

const struct protocol redis_protocol = {
    .name = "redis", .open = redis_open, .send = redis_send, .pull = redis_pull,
    .ack = redis_ack, .parse = redis_parse, .acks_are_answered = true, .pushes = false,
};
