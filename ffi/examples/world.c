/*
 * echo: a world in C. Answers every request with its own payload, until it is told to end.
 *
 *     cargo build -p strait-ffi
 *     cc -std=c11 -Wall -Wextra -Werror -pedantic -static -I ffi/include ffi/examples/world.c -o echo \
 *         target/debug/libstrait.a -lpthread -ldl -lm
 *     strait run --read ./echo:/echo -- /echo
 *
 * Or, once `cargo xtask library` has installed libstrait: cc ... $(pkg-config --static --cflags --libs strait)
 *
 * Linked with -static, it needs no library inside of its jail. Without, libc and libgcc_s must be bound into it.
 */
#include <strait.h>

#include <stdio.h>
#include <stdlib.h>

/* Ends with 0 when the notice of shutdown is acknowledged, or with an enum strait_error. */
static int serve(strait_client *client)
{
    strait_record record;
    int result = 0;

    while (result >= 0 && (result = strait_receive(client, -1, &record)) >= 0) {
        if (strait_shutdown_notice(&record))
            return strait_reply(client, &record, 0, NULL, 0);
        /* The payload lies in the inbox until the next receive: it needs no copy of ours. */
        if (record.kind == STRAIT_KIND_REQUEST)
            result = strait_reply(client, &record, 0, record.payload, record.length);
    }
    return result;
}

int main(void)
{
    strait_client *client;
    int result = strait_open(&client);

    if (result >= 0)
        result = serve(client);
    if (result < 0)
        fprintf(stderr, "echo: %s\n", strait_last_error());
    strait_close(client);
    return result < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
