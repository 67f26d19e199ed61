/*
 * dump.c: owns the reading of what archived has stored, while the suite is stopped. harness.py runs
 * it. It prints, a line each:
 *
 *   message ID FROM TO PAYLOAD     as it was stored
 *   copy JID ID                    an account's copy in the archive
 *   spool JID ID                   waits for its receiver
 *   end                            all was read
 *
 * Exit: 0, 1 when the store cannot be read.
 *
 * The Aldis developers
 */
#include <stdio.h>
#include <stdlib.h>

#include "archived.h"
#include "map.h"
#include "mem.h"

/* The addresses of accounts, by their numbers. */
struct address {
	uint64_t id;
	char *jid;
};

static struct map *addresses;

static void
text(struct slice s)
{
	fwrite(s.ptr, 1, s.len, stdout);
}

/* Learns the two accounts of a message. */
static int
learn(const struct frame *f)
{
	struct account *sides[2];
	int error = account_sides(f, &sides[0], &sides[1]);
	size_t i;

	for (i = 0; error == OK && i < 2; i++) {
		struct address *a;

		if (sides[i]->id == 0 ||
		    map_get(addresses, slice_of(&sides[i]->id, sizeof a->id)) != NULL)
			continue;
		a = mem_alloc(sizeof *a);
		a->id = sides[i]->id;
		a->jid = slice_dup(slice_of(sides[i]->jid, sides[i]->len));
		map_put(addresses, slice_of(&a->id, sizeof a->id), a);
	}
	return error;
}

static bool
message(void *arg, struct slice key, struct slice value)
{
	uint64_t id = store_key_read_u64(key.ptr), stamp;
	int *error = arg;
	struct frame f;

	(void)value;
	*error = message_get(id, &stamp, &f);
	if (*error != OK)
		return false;
	printf("message %016llx ", (unsigned long long)id);
	text(f.from);
	putchar(' ');
	text(f.to);
	putchar(' ');
	text(f.payload);
	putchar('\n');
	*error = learn(&f);
	return *error == OK;
}

static bool
place(void *arg, struct slice key, struct slice value)
{
	uint64_t account = store_key_read_u64(key.ptr);
	const struct address *a = map_get(addresses, slice_of(&account, sizeof account));

	(void)value;
	printf("%s %s %016llx\n", (const char *)arg, a != NULL ? a->jid : "?",
	    (unsigned long long)place_id(key));
	return true;
}

int
main(int argc, char **argv)
{
	int error, each = OK;

	if (argc != 2) {
		fputs("usage: dump DIRECTORY\n", stderr);
		return 2;
	}
	addresses = map_new();
	error = state_open(argv[1], UINT64_C(4) << 30, UINT64_MAX, 1);
	if (error == OK)
		error = index_all();
	if (error == OK)
		error = store_walk(state.store, TABLE_MESSAGE, SLICE(""), SLICE(""), message, &each);
	if (error == OK)
		error = each;
	if (error == OK)
		error = store_walk(state.store, TABLE_ARCHIVE, SLICE(""), SLICE(""), place, "copy");
	if (error == OK)
		error = store_walk(state.store, TABLE_SPOOL, SLICE(""), SLICE(""), place, "spool");
	if (error == OK)
		puts("end");
	state_abort();
	return error == OK ? 0 : 1;
}
