FROM REGISTRY/dockerfiles-base:1
RUN true
RUN touch /x && rm /x
RUN echo not empty >/y
RUN true
