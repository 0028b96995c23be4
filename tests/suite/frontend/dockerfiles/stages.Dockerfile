ARG FROM=REGISTRY/dockerfiles-base:1
FROM $FROM AS first
RUN echo first >/first && mkdir /out && echo out >/out/one
FROM first AS second
COPY --from=first /out /second/
RUN echo second >/second/two
FROM second AS unused
RUN false
FROM $FROM
COPY --from=0 /first /
COPY --from=second /second /second
COPY --from=REGISTRY/dockerfiles-base:1 /tree/full /from-image
COPY --from=first --chown=7:8 /out/one /from-image/one
