FROM REGISTRY/dockerfiles-base:1
RUN mkdir /special && cd /special && mknod null c 1 3 && mknod disk b 8 1 && mknod large c 511 1048575 && mkfifo -m 620 pipe
RUN cd /special && touch setuid setgid both none && chmod 4755 setuid && chmod 2711 setgid && chmod 6000 both && chmod 0 none
RUN mkdir /sticky && chmod 1777 /sticky && mkdir -m 2775 /setgid && touch /setgid/inherits && chmod +t /tree/a
RUN truncate -s 3000000 /sparse && echo end >>/sparse && truncate -s 100000 /hole
RUN nc -lU /special/socket & sleep 0.2; echo with a socket >/special/beside
