FROM REGISTRY/dockerfiles-base:1
WORKDIR /tree
WORKDIR full
WORKDIR new
WORKDIR /a/b/c/d
WORKDIR ../../e
USER 5:6
WORKDIR /of-five
RUN pwd >/tmp/pwd
