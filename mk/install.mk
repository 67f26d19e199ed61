# install.mk: where the programs, man pages and the sample configuration go. The Makefile includes it.

INSTALL := install
MAN5 := $(wildcard man/*.5)
MAN7 := $(wildcard man/*.7)
MAN8 := $(wildcard man/*.8)

.PHONY: install
install: all
	$(INSTALL) -d $(DESTDIR)$(sbindir) $(DESTDIR)$(bindir) $(DESTDIR)$(libexecdir)/aldis \
		$(DESTDIR)$(mandir)/man5 $(DESTDIR)$(mandir)/man7 $(DESTDIR)$(mandir)/man8 \
		$(DESTDIR)$(sysconfdir)/aldis
	$(INSTALL) -m 755 $B/bin/aldisd $(DESTDIR)$(sbindir)
	$(INSTALL) -m 755 $B/bin/aldisctl $(DESTDIR)$(bindir)
	$(INSTALL) -m 755 $(filter $B/bin/aldis-%,$(PROGRAMS)) $(DESTDIR)$(libexecdir)/aldis
	$(INSTALL) -m 644 $(MAN5) $(DESTDIR)$(mandir)/man5
	$(INSTALL) -m 644 $(MAN7) $(DESTDIR)$(mandir)/man7
	$(INSTALL) -m 644 $(MAN8) $(DESTDIR)$(mandir)/man8
	$(INSTALL) -m 644 debian/aldis.conf $(DESTDIR)$(sysconfdir)/aldis/aldis.conf.example
