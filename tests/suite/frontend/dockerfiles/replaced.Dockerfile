FROM REGISTRY/dockerfiles-base:1
RUN rm /tree/a && mkdir /tree/a && echo inside >/tree/a/inside
RUN rm -r /tree/full && echo a file >/tree/full
RUN rm /tree/b && ln -s c /tree/b && rm /tree/to-full && mkdir /tree/to-full && echo x >/tree/to-full/x
RUN rm /tree/d && mkfifo /tree/d && rm /tree/pipe && echo no pipe >/tree/pipe && rm /tree/zero && mknod /tree/zero c 1 3
RUN rm -r /tree/kept && ln -s empty /tree/kept
RUN rm -r /tree/a && echo a file again >/tree/a
RUN mv /tree/e /tree/f && mv /tree/g /tree/h
COPY tree/hello /tree/long
