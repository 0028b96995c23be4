FROM REGISTRY/dockerfiles-base:1
RUN grep added /etc/hosts >/hosts
RUN ulimit -n >/limit
RUN df -P /dev/shm | tail -n 1 | awk '{ print $2 }' >/shared-memory
RUN echo "$http_proxy" | wc -c >/proxy
