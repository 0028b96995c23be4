FROM REGISTRY/dockerfiles-base:1
COPY tree /copied
RUN echo new >/new && touch -d @1000000000 /old && touch -d @4000000000 /late
ENV A=b
RUN rm -r /tree/full
