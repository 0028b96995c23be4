FROM REGISTRY/dockerfiles-base:1
RUN touch /a /b /c && chown 2097151:2097152 /a && chown 4294967294:4000000000 /b && chown 65534:65534 /c
RUN mkdir /d && chown 3000000:1 /d && ln -s x /d/link && chown -h 1:3000000 /d/link
COPY --chown=3000000000:12 tree /tree-of-one
COPY --chown=12 --chmod=0751 tree/hello /of-twelve
