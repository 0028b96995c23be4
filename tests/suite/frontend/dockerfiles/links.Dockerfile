FROM REGISTRY/dockerfiles-base:1 AS from
RUN echo from >/from
FROM REGISTRY/dockerfiles-base:1
COPY --link tree /linked/tree
COPY --link --chown=1000:1001 --chmod=640 tree/hello /linked/hello
RUN rm /linked/tree/hello && echo between >/linked/between
COPY --link --from=from /from /linked/deep/down/from
ADD --link archive.tar /linked/
COPY --link --chmod=u=rwX,go=rX tree/sub /linked/sub
WORKDIR /linked/work
COPY --link tree/hello .
COPY --link tree/hello /same
COPY --link tree/hello /same
