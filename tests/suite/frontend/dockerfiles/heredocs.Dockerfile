FROM REGISTRY/dockerfiles-base:1
ARG WORD=word
RUN <<ONE cat >/one && cat <<TWO >/two
one
ONE
two
TWO
RUN <<'SCRIPT'
set -e
echo "$WORD" >/three
mkdir /four
SCRIPT
RUN <<SCRIPT
#!/bin/awk BEGIN { print "a program of its own" >"/five" }
SCRIPT
COPY <<FIRST <<-"SECOND" /texts/
expanded: $WORD
FIRST
	not expanded: $WORD
SECOND
COPY --chmod=755 --chown=3:4 <<EOF /script
#!/bin/sh
EOF
COPY <<EOF /empty
EOF
