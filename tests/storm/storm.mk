# storm.mk - the clients of a storm and the reader of the archive; the top Makefile includes it.
#
# The clients are made without sanitizers, so that they do not slow down what they look at.

STORM_PARTS := conn.c framer.c scram.c
STORM_SRC := $(wildcard tests/storm/*.c)
STORM_CLIENT := $(filter-out tests/storm/dump.c,$(STORM_SRC)) $(STORM_PARTS:%=tests/bench/%)
STORM_BIN := build/tests/storm/chatters
STORM_DUMP := build/tests/storm/dump
STORM_ARGS ?=

$(STORM_BIN): $(STORM_CLIENT) tests/storm/storm.h tests/bench/load.h tests/storm/storm.mk
	@mkdir -p $(@D)
	@echo "  CC    $@"
	@$(CC) $(CFLAGS) -Itests/bench $$(pkg-config --cflags gnutls) -o $@ $(STORM_CLIENT) $(LDFLAGS) \
		$$(pkg-config --libs gnutls)

$(STORM_DUMP): tests/storm/dump.c $B/libarchived.a $(LIBALDIS) tests/storm/storm.mk
	@mkdir -p $(@D)
	@echo "  CC    $@"
	@$(CC) $(CPPFLAGS) -Icommon -Iarchived $(DEP_CFLAGS) $(CFLAGS) $(LDFLAGS) -o $@ $< \
		-Wl,--start-group $(filter %.a,$^) -Wl,--end-group \
		$(SQLITE_LIBS) $(COMMON_LIBS)

.PHONY: storm storm-tools
storm-tools: $(STORM_BIN) $(STORM_DUMP)

# STORM_ARGS="-k kills" and the like; STORM_SECONDS and others: see tests/storm/README.md
storm: all storm-tools
	STORM_LONG=1 /usr/bin/python3 -m pytest -s -n 0 -p no:cacheprovider tests/storm $(STORM_ARGS)
