/*
 * A world whose every record comes back to it: sends a payload that is larger than its outbox and takes it whole, then piece by
 * piece, then sends many small ones at once. Ends with 0 if all came back as it was.
 */
#include <strait.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LARGE = 200000, MANY = 1000, PEER = 16 };

static unsigned char sent[LARGE], together[LARGE];

static int failed(const char *what)
{
    fprintf(stderr, "streams: %s (%s)\n", what, strait_last_error());
    return EXIT_FAILURE;
}

static int send_large(strait_client *client)
{
    return strait_send(client, PEER, sent, LARGE, -1, NULL);
}

static int take_whole(strait_client *client)
{
    strait_record record;

    if (strait_receive(client, 10000, &record) != 1 || record.kind != STRAIT_KIND_MESSAGE)
        return failed("nothing came back");
    if (record.length != LARGE || memcmp(record.payload, sent, LARGE))
        return failed("the whole isn't what was sent");
    return strait_release(client);
}

static int take_pieces(strait_client *client)
{
    strait_record record;
    strait_piece piece;
    size_t length = 0;

    do {
        if (strait_receive_piece(client, 10000, &record, &piece) != 1)
            return failed("no piece came back");
        if (!piece.stream || piece.is_broken_off || piece.offset != length || record.length > LARGE - length)
            return failed("a piece isn't where it belongs");
        memcpy(together + length, record.payload, record.length);
        length += record.length;
    } while (!piece.is_last);
    return length == LARGE && !memcmp(together, sent, LARGE) ? 0 : failed("the pieces aren't what was sent");
}

static int batch(strait_client *client)
{
    static strait_bytes payloads[MANY];
    static size_t numbers[MANY];
    strait_record record;
    strait_piece piece;
    size_t count, n;

    for (n = 0; n < MANY; n++) {
        numbers[n] = n;
        payloads[n].start = &numbers[n];
        payloads[n].length = sizeof numbers[n];
    }
    if (strait_send_batch(client, PEER, payloads, MANY, &count) < 0 || count != MANY)
        return failed("the batch wasn't sent");
    for (n = 0; n < MANY; n++) {
        if (strait_receive_piece(client, 10000, &record, &piece) != 1 || piece.stream)
            return failed("a message of the batch is missing");
        if (record.length != sizeof n || memcmp(record.payload, &n, sizeof n))
            return failed("a message of the batch isn't what was sent");
    }
    return strait_receive(client, 0, &record) == 0 ? 0 : failed("too much came back");
}

int main(void)
{
    strait_client *client;
    size_t n;

    for (n = 0; n < LARGE; n++)
        sent[n] = (unsigned char)(n * 7 + n / 251);
    if (strait_open(&client) < 0)
        return failed("no world");
    if (strait_send(client, PEER, sent, LARGE, 0, NULL) != STRAIT_ERROR_TOO_LARGE)
        return failed("what is too large to go at once went");
    /* The other side keeps what comes back until it is read. */
    if (send_large(client) < 0 || take_whole(client) || send_large(client) < 0 || take_pieces(client))
        return EXIT_FAILURE;
    if (batch(client))
        return EXIT_FAILURE;
    strait_close(client);
    return EXIT_SUCCESS;
}
