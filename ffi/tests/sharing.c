/*
 * Two worlds of one program, told apart by their argument. The maker links to the viewer, sends it a parcel with and without the
 * link, and multicasts; the viewer says what it saw. Both end with 0 if all was as it should be.
 */
#include <strait.h>

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LONG = 20000, FRAME = 1 << 20 };

static int failed(const char *what)
{
    fprintf(stderr, "sharing: %s (%s)\n", what, strait_last_error());
    return EXIT_FAILURE;
}

static unsigned char pattern(size_t at, unsigned char seed)
{
    return (unsigned char)(at * 31 + at / 4096 + seed);
}

static int send_frame(strait_client *client, uint64_t viewer, unsigned char seed)
{
    strait_parcel *frame;
    strait_record reply;
    unsigned char *memory;
    size_t at, length;

    if (strait_parcel_new(client, FRAME, &frame) < 0)
        return failed("no parcel");
    if (strait_parcel_send(client, viewer, frame, NULL, 0, NULL) != STRAIT_ERROR_PARCEL)
        return failed("a parcel that isn't sealed was sent");
    memory = strait_parcel_memory(frame);
    for (at = 0; at < FRAME; at++)
        memory[at] = pattern(at, seed);
    if (strait_parcel_bytes(frame, NULL) || strait_parcel_seal(frame) < 0 || strait_parcel_memory(frame))
        return failed("sealing");
    if (!strait_parcel_bytes(frame, &length) || length != FRAME)
        return failed("the sealed parcel isn't what it was");
    if (strait_parcel_send(client, viewer, frame, &seed, 1, NULL) < 0)
        return failed("the parcel wasn't sent");
    strait_parcel_free(frame);
    /* The answer comes when the frame was looked at. */
    if (strait_request(client, viewer, "seen?", 5, LONG, &reply) < 0 || reply.code != seed)
        return failed("the viewer didn't see the frame");
    return 0;
}

static int make(strait_client *client)
{
    uint64_t viewer, both[2] = {0, 1};

    if (strait_resolve(client, "viewer", &viewer) < 0 || strait_resolve(client, "host", &both[1]) < 0)
        return failed("names");
    both[0] = viewer;
    if (send_frame(client, viewer, 1))
        return EXIT_FAILURE;
    if (strait_link(client, viewer, LONG) < 0 || !strait_is_linked(client, viewer))
        return failed("no link");
    if (send_frame(client, viewer, 2))
        return EXIT_FAILURE;
    if (strait_unlink(client, viewer) < 0 || strait_is_linked(client, viewer))
        return failed("the link stays");
    if (strait_multicast(client, both, 2, "end", 3, NULL) < 0 || strait_drain(client, LONG) != 1)
        return failed("multicast");
    return EXIT_SUCCESS;
}

static int look(strait_client *client, const strait_record *record, unsigned char *seen)
{
    strait_parcel *frame, *again;
    const unsigned char *bytes;
    size_t at, length;

    if (strait_parcel_take(client, &frame) != 1 || strait_parcel_take(client, &again) != 0 || again)
        return failed("no parcel, or too many");
    *seen = record->payload[0];
    if (strait_release(client) < 0)
        return failed("release");
    /* It outlives its record. */
    bytes = strait_parcel_bytes(frame, &length);
    for (at = 0; bytes && at < length; at++)
        if (bytes[at] != pattern(at, *seen))
            return failed("the frame isn't what was sent");
    strait_parcel_free(frame);
    return length == FRAME ? 0 : failed("the frame has another length");
}

static int view(strait_client *client)
{
    unsigned char seen = 0;
    strait_record record;

    while (strait_receive(client, LONG, &record) == 1) {
        if (record.kind == STRAIT_KIND_REQUEST) {
            if (strait_reply(client, &record, seen, NULL, 0) < 0)
                return failed("reply");
        } else if (record.length == 1) {
            if (look(client, &record, &seen))
                return EXIT_FAILURE;
        } else {
            return record.length == 3 && seen == 2 ? EXIT_SUCCESS : failed("something else came");
        }
    }
    return failed("nothing comes any more");
}

int main(int argc, char **argv)
{
    strait_client *client;
    int result;

    if (argc != 2 || strait_open(&client) < 0)
        return failed("no world");
    result = strcmp(argv[1], "make") ? view(client) : make(client);
    strait_close(client);
    return result;
}
