FROM REGISTRY/dockerfiles-base:1
WORKDIR /built
ONBUILD COPY tree/hello /built/hello
ONBUILD RUN cat /built/hello >/built/copy
ONBUILD ENV BUILT=yes
LABEL kind=base
