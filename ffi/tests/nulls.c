/* Every function of strait.h, with NULL wherever there is a pointer: a code, and no crash. */
#include <strait.h>

#include <stdio.h>
#include <string.h>

static int failed;

static void expect(int line, long long result, long long wanted, const char *text)
{
    if (result != wanted || (text && !strstr(strait_last_error(), text))) {
        fprintf(stderr, "line %d: %lld (%s) instead of %lld (%s)\n", line, result, strait_last_error(), wanted,
                text ? text : "any text");
        failed = 1;
    }
}

#define IS_NULL(call, what) expect(__LINE__, call, STRAIT_ERROR_NULL, what " is NULL")
#define IS(call, wanted) expect(__LINE__, call, wanted, NULL)

int main(void)
{
    strait_client *none = NULL, *client = (strait_client *)&failed;
    uint64_t number;
    strait_draft draft;
    strait_record record;
    strait_piece piece;
    strait_parcel *parcel;
    strait_state state;
    strait_question question;
    strait_granted grant;
    strait_world world;
    strait_world_row row;
    strait_ended ended;
    strait_sight sight;
    size_t place = 0;
    char name[129];

    memset(&draft, 0, sizeof draft);
    memset(&record, 0, sizeof record);
    IS(strait_last_error()[0], 0);
    IS_NULL(strait_open(NULL), "client");
    IS_NULL(strait_attach("/nowhere", "name", NULL), "client");
    IS_NULL(strait_attach(NULL, "name", &client), "socket_path");
    IS(client == NULL, 1);
    IS_NULL(strait_attach("/nowhere", NULL, &client), "name");
    IS(strait_attach("/nowhere", "no name", &client), STRAIT_ERROR_NAME);
    IS(strait_attach("/nowhere", "\xff", &client), STRAIT_ERROR_NAME);
    IS(strait_attach("/nowhere", "name", &client), STRAIT_ERROR_UNREACHABLE);
    IS(strstr(strait_last_error(), "/nowhere") != NULL, 1);
    strait_close(none);
    IS(strait_id(none), 0);
    IS(strait_name(none) == NULL, 1);
    IS(strait_max_payload(none), 0);
    IS_NULL(strait_resolve(none, "name", &number), "client");
    IS_NULL(strait_send(none, 16, "x", 1, -1, NULL), "client");
    IS_NULL(strait_send_batch(none, 16, NULL, 0, NULL), "client");
    IS_NULL(strait_request(none, 16, "x", 1, -1, &record), "client");
    IS_NULL(strait_start_request(none, 16, "x", 1, -1, &number), "client");
    IS_NULL(strait_reply(none, &record, 0, NULL, 0), "client");
    IS_NULL(strait_set_patience(none, 0), "client");
    IS_NULL(strait_flush(none), "client");
    IS_NULL(strait_drain(none, 0), "client");
    IS_NULL(strait_receive(none, 0, &record), "client");
    IS_NULL(strait_receive_piece(none, 0, &record, &piece), "client");
    IS_NULL(strait_set_assembly_limits(none, 0, 0, 0), "client");
    IS_NULL(strait_release(none), "client");
    IS_NULL(strait_poll_fd(none), "client");
    IS_NULL(strait_draft_begin(none, 16, 1, &draft), "client");
    IS_NULL(strait_draft_begin_reply(none, &record, 1, &draft), "client");
    IS_NULL(strait_draft_send(none, &draft, NULL), "client");
    IS_NULL(strait_draft_stage(none, &draft, NULL), "client");
    IS_NULL(strait_draft_drop(none), "client");
    IS_NULL(strait_multicast(none, &number, 1, "x", 1, NULL), "client");
    IS_NULL(strait_link(none, 16, 0), "client");
    IS_NULL(strait_unlink(none, 16), "client");
    IS(strait_is_linked(none, 16), false);
    IS_NULL(strait_parcel_new(none, 1, &parcel), "client");
    IS(strait_parcel_memory(NULL) == NULL, 1);
    IS_NULL(strait_parcel_seal(NULL), "parcel");
    IS(strait_parcel_bytes(NULL, NULL) == NULL, 1);
    IS_NULL(strait_parcel_send(none, 16, NULL, NULL, 0, NULL), "client");
    IS_NULL(strait_parcel_take(none, &parcel), "client");
    strait_parcel_free(NULL);
    IS_NULL(strait_save(none, "x", 1, NULL), "client");
    IS_NULL(strait_load(none, &state), "client");
    IS_NULL(strait_dial(none, "a:1", 0, &failed), "client");
    IS_NULL(strait_ask_for(none, "send x", "", 0, &number), "client");
    IS_NULL(strait_asked(NULL, &question), "record");
    IS_NULL(strait_asked(&record, NULL), "asked");
    IS(strait_asked(&record, &question), 0);
    IS_NULL(strait_decide(none, &record, STRAIT_DECISION_DENY, -1, NULL), "client");
    IS_NULL(strait_requests(none, &question, 1), "client");
    IS_NULL(strait_grants(none, &grant, 1), "client");
    IS_NULL(strait_grant(none, 1, -1, &grant), "client");
    IS_NULL(strait_deny(none, 1, NULL), "client");
    IS_NULL(strait_revoke(none, 1), "client");
    IS_NULL(strait_topic(none, "a", &number), "client");
    IS_NULL(strait_publish(none, "a", "x", 1, false, NULL), "client");
    IS_NULL(strait_publish_parcel(none, "a", NULL, NULL, 0, NULL), "client");
    IS_NULL(strait_close_topic(none, "a"), "client");
    IS_NULL(strait_subscribe(none, "a", NULL, NULL), "client");
    IS_NULL(strait_unsubscribe(none, 1), "client");
    IS(strait_published(NULL, NULL), false);
    IS(strait_published(&record, NULL), false);
    IS_NULL(strait_topic_name(none, 1, name, sizeof name), "client");
    IS_NULL(strait_start(none, "a", NULL, &world), "client");
    IS_NULL(strait_clone_world(none, "a", &world), "client");
    IS_NULL(strait_wake(none, "a", &world), "client");
    IS_NULL(strait_upgrade(none, "a", "b", true, 1, "", &world), "client");
    IS_NULL(strait_stop(none, "a", 1, "", &ended), "client");
    IS_NULL(strait_kill(none, "a", "", &ended), "client");
    IS_NULL(strait_wait(none, 16, 1, &ended), "client");
    IS_NULL(strait_snapshot(none, "a", 1, "", &number), "client");
    IS_NULL(strait_list(none, &row, 1), "client");
    IS_NULL(strait_tap(none, "*", false), "client");
    IS_NULL(strait_untap(none), "client");
    IS(strait_sights(NULL, NULL), false);
    IS_NULL(strait_next_sight(NULL, &place, &sight), "record");
    IS_NULL(strait_next_sight(&record, NULL, &sight), "place");
    IS_NULL(strait_next_sight(&record, &place, NULL), "sight");
    IS(strait_control_notice(NULL), STRAIT_WANTED_NOTHING);
    IS(strait_control_notice(&record), STRAIT_WANTED_NOTHING);
    IS(strait_shutdown_notice(NULL), false);
    IS(strait_shutdown_notice(&record), false);
    IS(strait_reason_text(0)[0], 0);
    IS(strcmp(strait_reason_text(STRAIT_REASON_NO_SUCH_WORLD), "there is no such world"), 0);
    IS(strait_reason_text(65535)[0], 0);
    return failed;
}
