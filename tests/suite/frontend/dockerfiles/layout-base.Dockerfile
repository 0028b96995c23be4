FROM layout
RUN echo new >/new
