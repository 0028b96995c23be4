FROM REGISTRY/dockerfiles-base:1
RUN ln -s /nowhere/at/all /dangling && ln -s . /self && ln -s ../../../.. /up && ln -s "$(seq -s / 1 300)" /long
RUN ln -sf c /tree/to-b && ln -sfn empty /tree/to-full
RUN rm /tree/dangling && echo a file >/tree/dangling
RUN echo through >/tree/to-b && echo through >/tree/to-full/file
RUN chown -h 5:6 /dangling && touch -h -d @1000000000 /self
COPY links /links
