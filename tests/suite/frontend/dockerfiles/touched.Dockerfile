FROM REGISTRY/dockerfiles-base:1
RUN touch /tree/a
RUN touch -d @1000000000 /tree/b /tree/full
RUN touch -d @1000000000 /tree/kept/g
RUN chmod 600 /tree/c
RUN chmod 644 /tree/d
RUN chmod 700 /tree/full/deep
RUN chown 5:6 /tree/e /tree/full/deep/er
RUN chown 0:0 /tree/f
RUN chown -h 5:6 /tree/to-b
RUN touch -h -d @1000000000 /tree/dangling
RUN printf 'h\n' >/tree/kept/g && touch -d @1000000000 /tree/kept/g
RUN cp -p /tree/g /tree/g-copy && mv /tree/g-copy /tree/g
RUN touch /tree/empty/x && rm /tree/empty/x
RUN touch -d @-5 /tree/before-1970 && touch -d @9999999999 /tree/after-2286
