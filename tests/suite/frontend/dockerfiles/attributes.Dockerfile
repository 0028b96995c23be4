FROM REGISTRY/dockerfiles-base:1
COPY attributes /attributes
RUN cp /attributes/capable /capable && echo more >>/attributes/text
RUN --mount=type=bind,from=tools,target=/tools LD_LIBRARY_PATH=/tools/lib /tools/setcap cap_net_raw+ep /tree/long
RUN chmod 700 /attributes/capable && mv /attributes/capable /attributes/moved
