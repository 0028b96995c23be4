FROM REGISTRY/dockerfiles-base:1
RUN rm -r /tree/full && mkdir /tree/full && echo new >/tree/full/new && echo two again >/tree/full/two
RUN rm -r /tree/kept && mkdir -p /tree/kept
RUN mv /tree/empty /tree/moved && mkdir /tree/empty && touch /tree/empty/file
RUN rm -r /tree/full && mkdir -m 700 /tree/full && mkdir -p /tree/full/deep/er && echo four >/tree/full/deep/er/five
RUN mv /tree/full /tree/full-elsewhere
RUN cp -a /tree/kept /tree/copy && rm -r /tree/kept && mv /tree/copy /tree/kept
