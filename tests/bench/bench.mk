# bench.mk - the load generator and the comparison with other servers; the top Makefile includes it.

BENCH_SRC := $(wildcard tests/bench/*.c)
BENCH_BIN := build/tests/bench/xmppload
BENCH_FILL := build/tests/bench/fill
BENCH_ARGS ?=
GROWTH_ARGS ?=

$(BENCH_BIN): $(BENCH_SRC) tests/bench/load.h tests/bench/bench.mk
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) $$(pkg-config --cflags gnutls) -o $@ $(BENCH_SRC) $(LDFLAGS) $$(pkg-config --libs gnutls)

.PHONY: bench bench-growth bench-tools
bench-tools: $(BENCH_BIN) $(BENCH_FILL)

# BENCH_ARGS="--quick --servers aldis" and the like: see tests/bench/README.md
bench: $(BENCH_BIN)
	/usr/bin/python3 tests/bench/compare.py $(BENCH_ARGS)

# GROWTH_ARGS="--parts idle,rooms" and the like
bench-growth: $(BENCH_BIN) $(BENCH_FILL)
	/usr/bin/python3 tests/bench/growth.py $(GROWTH_ARGS)

# -- what a TLS handshake costs with the key in authd, and without -------------------------------

HANDSHAKE_TOOLS := build/tests/bench/handshake-client build/tests/bench/local_key.so
HANDSHAKE_ARGS ?=

build/tests/bench/handshake-client: tests/bench/handshake/client.c tests/bench/bench.mk
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) $$(pkg-config --cflags gnutls) -o $@ $< $(LDFLAGS) $$(pkg-config --libs gnutls) -lpthread

build/tests/bench/local_key.so: tests/bench/handshake/local_key.c tests/bench/bench.mk
	@mkdir -p $(@D)
	$(CC) $(filter-out -fPIE,$(CFLAGS)) -fPIC -shared $$(pkg-config --cflags gnutls) -o $@ $< $$(pkg-config --libs gnutls)

.PHONY: bench-handshake
bench-handshake: all $(HANDSHAKE_TOOLS)
	/usr/bin/python3 tests/bench/handshake.py $(HANDSHAKE_ARGS)

# -- what archived's engine takes for messages and for pages of large archives --------------------

ARCHIVE_ARGS ?=

build/tests/bench/archive: tests/bench/archive/archive.c $B/libarchived.a $(LIBALDIS) tests/bench/bench.mk
	@mkdir -p $(@D)
	$(CC) $(CPPFLAGS) -Icommon -Iarchived $(DEP_CFLAGS) $(CFLAGS) -o $@ $< $(LDFLAGS) \
		-Wl,--start-group $B/libarchived.a $(LIBALDIS) -Wl,--end-group $(SQLITE_LIBS) $(COMMON_LIBS)

.PHONY: bench-archive
bench-archive: build/tests/bench/archive
	build/tests/bench/archive $(ARCHIVE_ARGS)

$(BENCH_FILL): tests/bench/archive/fill.c $B/libarchived.a $(LIBALDIS) tests/bench/bench.mk
	@mkdir -p $(@D)
	$(CC) $(CPPFLAGS) -Icommon -Iarchived $(DEP_CFLAGS) $(CFLAGS) -o $@ $< $(LDFLAGS) \
		-Wl,--start-group $B/libarchived.a $(LIBALDIS) -Wl,--end-group $(SQLITE_LIBS) $(COMMON_LIBS)
