FROM REGISTRY/dockerfiles-onbuild:1 AS one
RUN echo more >/built/more
FROM one
