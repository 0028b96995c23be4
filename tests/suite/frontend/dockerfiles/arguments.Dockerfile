ARG NUMBER=1
FROM REGISTRY/dockerfiles-base:1 AS wanted
ARG NUMBER
ARG WORD=default
ARG UNSET
ENV NUMBER=$NUMBER WORD=${WORD:-none} UNSET=${UNSET:-unset} SUFFIX=${WORD%x}
RUN echo "$NUMBER $WORD $UNSET" >/arguments && touch -d @1000000000 /arguments /
LABEL word=$WORD "two words"="yes = yes"
COPY tree/h?llo /copy-$NUMBER
FROM wanted AS not-wanted
RUN false
