FROM base-by-name
COPY --from=directory . /directory/
COPY --from=image /tree/full /image/
COPY --from=layout /tree/kept /layout/
