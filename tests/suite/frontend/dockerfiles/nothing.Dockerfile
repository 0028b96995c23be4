FROM scratch
ENV ONLY=this
CMD ["/nothing"]
