FROM REGISTRY/dockerfiles-base:1
RUN head -c 32 /dev/urandom | sha256sum >/one
RUN cp /one /two
COPY --link tree /tree
RUN cp /two /three
