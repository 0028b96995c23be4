FROM REGISTRY/dockerfiles-base:1
COPY --parents tree/sub/./kept tree/hello /parents/
COPY --exclude=hello --exclude=**/kept tree /excluded/
COPY tree /trailing/
COPY tree/hello tree/sub/kept /several/
COPY tree/ /tree/full/
COPY tree/h* /wild/
