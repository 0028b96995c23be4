FROM REGISTRY/dockerfiles-base:1
COPY noise text /spans/
RUN cat /spans/noise /spans/text >/spans/both && cp /spans/text /spans/again
