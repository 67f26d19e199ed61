/*
 * ns.h: the namespaces of the field, as string literals. SLICE(NS_ROSTER) makes a slice.
 */
#ifndef ALDIS_NS_H
#define ALDIS_NS_H

#define NS_STREAM     "http://etherx.jabber.org/streams"      /* RFC 6120 */
#define NS_STREAMS    "urn:ietf:params:xml:ns:xmpp-streams"
#define NS_STANZAS    "urn:ietf:params:xml:ns:xmpp-stanzas"
#define NS_TLS        "urn:ietf:params:xml:ns:xmpp-tls"
#define NS_SASL       "urn:ietf:params:xml:ns:xmpp-sasl"
#define NS_BIND       "urn:ietf:params:xml:ns:xmpp-bind"
#define NS_SESSION    "urn:ietf:params:xml:ns:xmpp-session"   /* RFC 3921, tolerated */
#define NS_CLIENT     "jabber:client"
#define NS_SERVER     "jabber:server"
#define NS_DIALBACK   "jabber:server:dialback"                /* XEP-0220 */
#define NS_DIALBACK_FEATURE "urn:xmpp:features:dialback"
#define NS_PUSH       "urn:xmpp:push:0"                       /* XEP-0357 */
#define NS_PUSH_SUMMARY "urn:xmpp:push:summary"
#define NS_PUBSUB     "http://jabber.org/protocol/pubsub"     /* XEP-0060 */
#define NS_PUBLISH_OPTIONS NS_PUBSUB "#publish-options"
#define NS_EME        "urn:xmpp:eme:0"                        /* XEP-0380 */
#define NS_OMEMO      "urn:xmpp:omemo:2"                      /* XEP-0384 */
#define NS_OMEMO_OLD  "eu.siacs.conversations.axolotl"
#define NS_OPENPGP    "urn:xmpp:openpgp:0"                    /* XEP-0373 */
#define NS_OPENPGP_OLD "jabber:x:encrypted"                   /* XEP-0027 */
#define NS_JINGLE_MESSAGE "urn:xmpp:jingle-message:0"         /* XEP-0353 */
#define NS_BIDI       "urn:xmpp:bidi"                         /* XEP-0288 */
#define NS_BIDI_FEATURE "urn:xmpp:features:bidi"
#define NS_ONCE       "urn:x-aldis:once:0"                    /* of ours: s2sd/once.c */
#define NS_COMPONENT  "jabber:component:accept"               /* XEP-0114 */
#define NS_ROSTER     "jabber:iq:roster"                      /* RFC 6121 */
#define NS_ROSTERVER  "urn:xmpp:features:rosterver"
#define NS_PREAPPROVE "urn:xmpp:features:pre-approval"
#define NS_SASL_CB    "urn:xmpp:sasl-cb:0"                    /* XEP-0440 */
#define NS_SASL2      "urn:xmpp:sasl:2"                       /* XEP-0388 */
#define NS_BIND2      "urn:xmpp:bind:0"                       /* XEP-0386 */
#define NS_UPGRADE    "urn:xmpp:sasl:upgrade:0"               /* XEP-0480 */
#define NS_SCRAM_UPGRADE "urn:xmpp:scram-upgrade:0"
#define NS_FAST       "urn:xmpp:fast:0"                       /* XEP-0484 */
#define NS_IAP        "urn:xmpp:iap:0"                        /* XEP-0509 */
#define NS_LIMITS     "urn:xmpp:stream-limits:0"              /* XEP-0478 */
#define NS_SM         "urn:xmpp:sm:3"                         /* XEP-0198 */
#define NS_DISCO_INFO "http://jabber.org/protocol/disco#info" /* XEP-0030 */
#define NS_DISCO_ITEMS "http://jabber.org/protocol/disco#items"
#define NS_TIME       "urn:xmpp:time"                         /* XEP-0202 */
#define NS_VERSION    "jabber:iq:version"                     /* XEP-0092 */
#define NS_PING       "urn:xmpp:ping"                         /* XEP-0199 */
#define NS_LAST       "jabber:iq:last"                        /* XEP-0012 */
#define NS_VCARD      "vcard-temp"                            /* XEP-0054 */
#define NS_PRIVATE    "jabber:iq:private"                     /* XEP-0049 */
#define NS_REGISTER   "jabber:iq:register"                    /* XEP-0077 */
#define NS_REGISTER_FEATURE "http://jabber.org/features/iq-register"
#define NS_DELAY      "urn:xmpp:delay"                        /* XEP-0203 */
#define NS_X_DELAY    "jabber:x:delay"                        /* XEP-0091 */
#define NS_SID        "urn:xmpp:sid:0"                        /* XEP-0359 */
#define NS_HINTS      "urn:xmpp:hints"                        /* XEP-0334 */
#define NS_CHATSTATES "http://jabber.org/protocol/chatstates" /* XEP-0085 */
#define NS_CARBONS    "urn:xmpp:carbons:2"                    /* XEP-0280 */
#define NS_CARBONS_RULES "urn:xmpp:carbons:rules:0"
#define NS_RECEIPTS   "urn:xmpp:receipts"                     /* XEP-0184 */
#define NS_MARKERS    "urn:xmpp:chat-markers:0"               /* XEP-0333 */
#define NS_CORRECT    "urn:xmpp:message-correct:0"            /* XEP-0308 */
#define NS_RETRACT    "urn:xmpp:message-retract:1"            /* XEP-0424 */
#define NS_REACTIONS  "urn:xmpp:reactions:0"                  /* XEP-0444 */
#define NS_FALLBACK   "urn:xmpp:fallback:0"                   /* XEP-0428 */
#define NS_CONFERENCE "jabber:x:conference"                   /* XEP-0249 */
#define NS_MUC        "http://jabber.org/protocol/muc"        /* XEP-0045 */
#define NS_MUC_ADMIN  NS_MUC "#admin"
#define NS_MUC_OWNER  NS_MUC "#owner"
#define NS_MUC_ROOMCONFIG NS_MUC "#roomconfig"
#define NS_MUC_ROOMINFO NS_MUC "#roominfo"
#define NS_MUC_REQUEST NS_MUC "#request"
#define NS_MUC_REGISTER NS_MUC "#register"
#define NS_MUC_UNIQUE NS_MUC "#unique"
#define NS_MUC_SELF_PING NS_MUC "#self-ping-optimization" /* XEP-0410 */
#define NS_MUC_STABLE_ID NS_MUC "#stable_id"
#define NS_MODERATE   "urn:xmpp:message-moderate:1"           /* XEP-0425 */
#define NS_HATS       "urn:xmpp:hats:0"                       /* XEP-0317 */
#define NS_HATS_COMMANDS "urn:xmpp:hats:commands"
#define NS_VCARD_UPDATE "vcard-temp:x:update"                 /* XEP-0153 */
#define NS_MUC_USER   "http://jabber.org/protocol/muc#user"   /* XEP-0045 */
#define NS_CSI        "urn:xmpp:csi:0"                        /* XEP-0352 */
#define NS_PARS       "urn:xmpp:pars:0"                       /* XEP-0379 */
#define NS_IBR_TOKEN  "urn:xmpp:ibr-token:0"                  /* XEP-0445 */
#define NS_INVITE     "urn:xmpp:invite"                       /* XEP-0401 */
#define NS_EXTDISCO   "urn:xmpp:extdisco:2"                   /* XEP-0215 */
#define NS_REPORTING  "urn:xmpp:reporting:1"                  /* XEP-0377 */
#define NS_BLOCKING   "urn:xmpp:blocking"                     /* XEP-0191 */
#define NS_HATS_ANY   "urn:xmpp:hats:"                        /* all versions of it */
#define NS_OCCUPANT_ID "urn:xmpp:occupant-id:0"               /* XEP-0421 */
#define NS_FORWARD    "urn:xmpp:forward:0"                    /* XEP-0297 */
#define NS_OFFLINE    "msgoffline"                            /* XEP-0160, a feature only */
#define NS_CAPS       "http://jabber.org/protocol/caps"      /* XEP-0115 */
#define NS_SERVERINFO "http://jabber.org/network/serverinfo" /* XEP-0157 */
#define NS_COMMANDS   "http://jabber.org/protocol/commands"  /* XEP-0050 */
#define NS_ADMIN      "http://jabber.org/protocol/admin"     /* XEP-0133 */
#define NS_DATA       "jabber:x:data"                         /* XEP-0004 */
#define NS_VALIDATE   "http://jabber.org/protocol/xdata-validate" /* XEP-0122 */
#define NS_RSM        "http://jabber.org/protocol/rsm"        /* XEP-0059 */
#define NS_MAM        "urn:xmpp:mam:2"                        /* XEP-0313 */
#define NS_FULLTEXT   "urn:xmpp:fulltext:0"                   /* XEP-0431 */
#define NS_MAM_EXTENDED "urn:xmpp:mam:2#extended"
#define NS_MAM_GROUPCHAT "urn:xmpp:mam:2#groupchat-field"
#define NS_PIE        "urn:xmpp:pie:0"                        /* XEP-0227 */
#define NS_PIE_SCRAM  "urn:xmpp:pie:0#scram"
#define NS_PIE_MAM    "urn:xmpp:pie:0#mam"
#define NS_ROOM_FILE  "urn:x-aldis:room"                      /* a room in a file */
#define NS_PRIVACY    "jabber:iq:privacy"                     /* XEP-0016, in files only */
#define NS_XINCLUDE   "http://www.w3.org/2001/XInclude"

/* What names this software in its entity capabilities (XEP-0115 section 4). */
#define CAPS_NODE     "urn:x-aldis:server"

#endif
