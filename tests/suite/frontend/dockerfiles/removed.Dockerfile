FROM REGISTRY/dockerfiles-base:1
RUN rm /tree/b /tree/to-b /tree/dangling /tree/pipe /tree/zero /tree/a-again
RUN rm -r /tree/full/deep /tree/empty
RUN echo back >/tree/b && mkdir /tree/empty && echo now full >/tree/empty/file
RUN rm -r /tree /bin/wc
RUN mkdir /tree && rm -r /tree
