FROM scratch
COPY --link tree/hello /hello
COPY --link tree/sub /sub/
COPY tree/hello /sub/hello
