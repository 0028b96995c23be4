# syntax=REGISTRY/dockerfiles-no-such-frontend
FROM REGISTRY/dockerfiles-base:1
RUN echo built >/built
