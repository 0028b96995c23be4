FROM directory
COPY tree /tree
