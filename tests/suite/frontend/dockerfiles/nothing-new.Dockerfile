FROM REGISTRY/dockerfiles-base:1
ENV NEW=variable
LABEL new=label
