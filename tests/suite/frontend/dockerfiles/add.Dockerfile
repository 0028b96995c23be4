FROM REGISTRY/dockerfiles-base:1
ARG BLOB
ADD archive.tar /unpacked/
ADD --chown=12:34 archive.tar.gz /unpacked-for/
ADD --unpack=false archive.tar /kept/
ADD http://REGISTRY/v2/dockerfiles-base/blobs/$BLOB /remote
ADD --chmod=600 --checksum=$BLOB http://REGISTRY/v2/dockerfiles-base/blobs/$BLOB /remote-checked
ADD tree /tree-of-context/
