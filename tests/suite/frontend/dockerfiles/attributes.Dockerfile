FROM REGISTRY/dockerfiles-base:1
COPY attributes /attributes
RUN cp /attributes/capable /capable && echo more >>/attributes/text
RUN --mount=type=bind,from=tools,target=/tools /tools/ld-linux-x86-64.so.2 --library-path /tools /tools/setcap cap_net_raw+ep /tree/long
RUN chmod 700 /attributes/capable && mv /attributes/capable /attributes/moved
