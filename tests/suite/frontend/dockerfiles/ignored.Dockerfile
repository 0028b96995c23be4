FROM REGISTRY/dockerfiles-base:1
COPY . /context
