# bench.mk - the load generator and the comparison with other servers; the top Makefile includes it.

BENCH_SRC := $(wildcard tests/bench/*.c)
BENCH_BIN := build/tests/bench/xmppload
BENCH_ARGS ?=

$(BENCH_BIN): $(BENCH_SRC) tests/bench/load.h tests/bench/bench.mk
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) $$(pkg-config --cflags gnutls) -o $@ $(BENCH_SRC) $(LDFLAGS) $$(pkg-config --libs gnutls)

.PHONY: bench bench-tools
bench-tools: $(BENCH_BIN)

# BENCH_ARGS="--quick --servers aldis" and the like: see tests/bench/README.md
bench: $(BENCH_BIN)
	/usr/bin/python3 tests/bench/compare.py $(BENCH_ARGS)
