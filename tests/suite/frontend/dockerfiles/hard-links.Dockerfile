FROM REGISTRY/dockerfiles-base:1
RUN mkdir /new && echo new >/new/1 && ln /new/1 /new/2 && ln /new/1 /new/0 && mkdir /new/sub && ln /new/1 /new/sub/3
RUN ln /tree/b /tree/b-new && ln /tree/c /aaa
RUN ln /new/1 /new/4
RUN echo changed >>/tree/a
RUN rm /new/1 && echo other >/new/1
RUN ln -s nowhere /new/link && ln /new/link /new/link-again && mkfifo /new/pipe && ln /new/pipe /new/pipe-again
RUN chmod 600 /new/2
RUN rm /tree/d && ln /tree/e /tree/d
COPY linked /linked
