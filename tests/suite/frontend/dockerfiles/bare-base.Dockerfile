FROM REGISTRY/dockerfiles-bare:1
COPY tree /tree
ENV NEW=variable
