FROM REGISTRY/dockerfiles-base:1 AS from
RUN mkdir /shared && echo shared >/shared/file
FROM REGISTRY/dockerfiles-base:1
RUN --mount=type=secret,id=word cat /run/secrets/word >/secret
RUN --mount=type=secret,id=word,target=/deep/down/word,mode=0444,uid=5 cat /deep/down/word >/secret-elsewhere
RUN --mount=type=secret,id=word,env=WORD echo "$WORD" >/secret-in-the-environment
RUN --mount=type=secret,id=none test ! -e /run/secrets/none
RUN --mount=type=cache,target=/cache,id=dockerfiles,sharing=locked echo cached >/cache/file && cp /cache/file /cached
RUN --mount=type=cache,target=/other-cache,from=from,source=/shared cp /other-cache/file /cached-too
RUN --mount=type=bind,target=/context cp /context/tree/hello /bound
RUN --mount=type=bind,from=from,source=/shared,target=/shared,rw echo lost >/shared/lost && cp /shared/file /bound-too
RUN --mount=type=tmpfs,target=/scratch,size=1m echo lost >/scratch/file && echo kept >/after
RUN --mount=type=ssh test -S "$SSH_AUTH_SOCK" && echo ssh >/ssh
RUN --mount=type=tmpfs,target=/tree/full touch /tree/full/lost
RUN --network=none true
