FROM REGISTRY/dockerfiles-base:1
COPY tree /tree
RUN rm /tree/hello
