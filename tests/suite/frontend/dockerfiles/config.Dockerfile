FROM REGISTRY/dockerfiles-base:1
MAINTAINER somebody
SHELL ["/bin/sh", "-ec"]
RUN echo "$0" >/shell
RUN mkdir /home && chown 1000:1000 /home
USER 1000:1000
RUN id >/home/id
WORKDIR /home/deep
COPY tree/hello mine
COPY --chown=0:0 tree/hello roots
USER 0:0
HEALTHCHECK --interval=5s --timeout=3s --start-period=1s --start-interval=2s --retries=4 CMD ["true"]
STOPSIGNAL SIGQUIT
VOLUME ["/volume", "/home/volume"]
RUN mkdir /volume && echo kept >/volume/kept
EXPOSE 80 443/udp 8000-8002
LABEL org.opencontainers.image.title="a \"title\"" empty=""
ENTRYPOINT ["/bin/sh"]
CMD echo hello
