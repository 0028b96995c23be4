# escape=`
FROM REGISTRY/dockerfiles-base:1
RUN echo one `
    two >/words
ENV PATHS=C:\Windows\System
COPY tree/hello `
    /hello
