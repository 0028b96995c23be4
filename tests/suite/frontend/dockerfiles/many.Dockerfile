FROM REGISTRY/dockerfiles-base:1
RUN mkdir /many && cd /many && for i in $(seq 5000); do echo $i >$i; done
RUN cd /many && rm 1* && for i in $(seq 2000 2100); do echo more >>$i; done
