/* AMQP 0-9-1 as RabbitMQ speaks it: persistent messages, publisher confirms. */
#include "load.h"

#include <arpa/inet.h>
#include <endian.h>
#include <stdio.h>
#include <string.h>

enum { METHOD = 1, HEADER = 2, BODY = 3 };
#define ID(class, method) ((class) << 16 | (method))
#define FRAME_MAX 131072u

/* --- writing --- */

static void put8(struct buffer *b, unsigned v) { append(b, &(uint8_t){(uint8_t)v}, 1); }
static void put16(struct buffer *b, unsigned v) { append(b, &(uint16_t){htons((uint16_t)v)}, 2); }
static void put32(struct buffer *b, uint32_t v) { append(b, &(uint32_t){htonl(v)}, 4); }
static void put64(struct buffer *b, uint64_t v) { append(b, &(uint64_t){htobe64(v)}, 8); }

static void put_short(struct buffer *b, const char *text)
{
    put8(b, (unsigned)strlen(text));
    append(b, text, strlen(text));
}

static size_t begin(struct buffer *b, unsigned type, unsigned channel)
{
    put8(b, type);
    put16(b, channel);
    put32(b, 0);
    return b->end;
}

static size_t begin_method(struct buffer *b, unsigned channel, uint32_t id)
{
    size_t at = begin(b, METHOD, channel);
    put32(b, id);
    return at;
}

/* `at` counts from the buffer's data: between begin and finish nothing may be flushed. */
static void finish(struct buffer *b, size_t at)
{
    uint32_t size = htonl((uint32_t)(b->end - at));
    memcpy(b->data + at - 4, &size, 4);
    put8(b, 0xCE);
}

/* --- reading --- */

struct frame {
    unsigned type;
    uint32_t id;       /* of a method */
    const char *data;  /* behind the id */
    size_t size;
};

static uint32_t get32(const char *p)
{
    uint32_t v;
    memcpy(&v, p, 4);
    return ntohl(v);
}

static uint64_t get64(const char *p)
{
    uint64_t v;
    memcpy(&v, p, 8);
    return be64toh(v);
}

static bool next_frame(struct connection *c, struct frame *f)
{
    const char *p = unread(&c->in);
    if (unread_size(&c->in) < 8)
        return false;
    size_t size = get32(p + 3);
    if (unread_size(&c->in) < size + 8)
        return false;
    f->type = (unsigned char)p[0];
    f->data = p + 7;
    f->size = size;
    f->id = 0;
    if (f->type == METHOD) {
        f->id = get32(p + 7);
        f->data += 4;
        f->size -= 4;
    }
    c->in.start += size + 8;
    return true;
}

static void expect(struct connection *c, uint32_t id)
{
    struct frame f;
    write_blocking(c);
    while (!next_frame(c, &f))
        read_blocking(c);
    if (f.id != id)
        fail("AMQP method %u.%u where %u.%u is due", f.id >> 16, f.id & 0xffff, id >> 16, id & 0xffff);
}

/* --- the protocol --- */

static struct buffer template;
static size_t stamp_at;

static void make_template(void)
{
    struct buffer *b = &template;
    size_t at = begin_method(b, 1, ID(60, 40)); /* basic.publish */
    put16(b, 0);
    put_short(b, options.publish ? options.queue : ""); /* exchange */
    put_short(b, options.publish ? "" : options.queue); /* routing key */
    put8(b, 0);
    finish(b, at);
    at = begin(b, HEADER, 1);
    put16(b, 60);
    put16(b, 0);
    put64(b, options.body_size);
    put16(b, 0x1000); /* delivery-mode alone */
    put8(b, 2);
    finish(b, at);
    at = begin(b, BODY, 1);
    stamp_at = b->end;
    append_body(b, 0);
    finish(b, at);
}

static void amqp_open(struct connection *c)
{
    struct buffer *out = &c->out;
    char plain[256];
    append(out, "AMQP\0\0\11\1", 8);
    expect(c, ID(10, 10));
    size_t at = begin_method(out, 0, ID(10, 11)); /* start-ok */
    put32(out, 0);
    put_short(out, "PLAIN");
    int n = snprintf(plain, sizeof plain, "%c%s%c%s", 0, options.user, 0, options.password);
    put32(out, (uint32_t)n);
    append(out, plain, (size_t)n);
    put_short(out, "en_US");
    finish(out, at);
    expect(c, ID(10, 30));
    at = begin_method(out, 0, ID(10, 31)); /* tune-ok: no heartbeats */
    put16(out, 1);
    put32(out, FRAME_MAX);
    put16(out, 0);
    finish(out, at);
    at = begin_method(out, 0, ID(10, 40)); /* open */
    put_short(out, "/");
    put_short(out, "");
    put8(out, 0);
    finish(out, at);
    expect(c, ID(10, 41));
    at = begin_method(out, 1, ID(20, 10)); /* channel.open */
    put_short(out, "");
    finish(out, at);
    expect(c, ID(20, 11));
    if (c->group->role == SEND) {
        at = begin_method(out, 1, ID(85, 10)); /* confirm.select */
        put8(out, 0);
        finish(out, at);
        expect(c, ID(85, 11));
    } else if (c->group->role == CONSUME) {
        at = begin_method(out, 1, ID(60, 10)); /* basic.qos */
        put32(out, 0);
        put16(out, (unsigned)c->group->window);
        put8(out, 0);
        finish(out, at);
        expect(c, ID(60, 11));
        at = begin_method(out, 1, ID(60, 20)); /* basic.consume */
        put16(out, 0);
        put_short(out, options.queue);
        put_short(out, "c");
        put8(out, 0);
        put32(out, 0);
        finish(out, at);
        expect(c, ID(60, 21));
    }
    if (template.end == 0)
        make_template();
}

static void amqp_send(struct connection *c, uint64_t tag, uint64_t ns)
{
    (void)tag;
    char *place = room(&c->out, template.end);
    memcpy(place, template.data, template.end);
    stamp(place + stamp_at, ns);
}

static void amqp_pull(struct connection *c, int count)
{
    c->state[1] = (uint64_t)count; /* answers to come */
    for (int i = 0; i < count; i++) {
        size_t at = begin_method(&c->out, 1, ID(60, 70)); /* basic.get */
        put16(&c->out, 0);
        put_short(&c->out, options.queue);
        put8(&c->out, 0);
        finish(&c->out, at);
    }
}

static void amqp_ack(struct connection *c)
{
    size_t at = begin_method(&c->out, 1, ID(60, 80)); /* basic.ack of all up to the last tag */
    append(&c->out, c->receipts.data + c->receipts.end - 8, 8);
    put8(&c->out, 1);
    finish(&c->out, at);
}

/* Confirms of one tag may overtake others, those of all up to a tag do not. */
static void confirm(struct connection *c, uint64_t tag, bool multiple)
{
    if (multiple) {
        for (uint64_t t = c->next_answer + 1; t <= tag; t++)
            if (c->sent_ns[t % MAX_IN_FLIGHT] != 0) {
                on_sent(c, t);
                c->sent_ns[t % MAX_IN_FLIGHT] = 0;
            }
        c->next_answer = tag;
        return;
    }
    on_sent(c, tag);
    c->sent_ns[tag % MAX_IN_FLIGHT] = 0;
    while (c->next_answer < c->next_tag && c->sent_ns[(c->next_answer + 1) % MAX_IN_FLIGHT] == 0)
        c->next_answer++;
}

static void take(struct connection *c, const struct frame *f)
{
    switch (f->type == METHOD ? f->id : 0) {
    case 0: /* a header, a body (small enough for one frame), a heartbeat */
        if (f->type == BODY) {
            on_message(c, (const char *)&c->state[0], 8, f->data, f->size);
            if (c->pulling && --c->state[1] == 0)
                on_pull_end(c);
        }
        break;
    case ID(60, 80): /* ack */
        confirm(c, get64(f->data), f->data[8] & 1);
        break;
    case ID(60, 60): /* deliver: the tag stands behind the consumer's name */
        memcpy(&c->state[0], f->data + 1 + (unsigned char)f->data[0], 8);
        break;
    case ID(60, 71): /* get-ok */
        memcpy(&c->state[0], f->data, 8);
        break;
    case ID(60, 72): /* get-empty */
        if (--c->state[1] == 0)
            on_pull_end(c);
        break;
    default:
        fail("AMQP method %u.%u", f->id >> 16, f->id & 0xffff);
    }
}

static void amqp_parse(struct connection *c)
{
    struct frame f;
    while (next_frame(c, &f))
        take(c, &f);
}

const struct protocol amqp_protocol = {
    .name = "amqp", .open = amqp_open, .send = amqp_send, .pull = amqp_pull,
    .ack = amqp_ack, .parse = amqp_parse, .acks_are_answered = false, .pushes = true,
};
