FROM REGISTRY/dockerfiles-base:1
RUN n=$(printf '%0200d' 0) && mkdir /$n && echo long >/$n/$n && mkdir -p /$n/$n-2/$n-3 && ln -s $n /$n/link && ln /$n/$n /$n/hard
RUN touch "/$(printf 'not-\377\376-utf8')" '/ space ' "/$(printf 'line\nbreak')" '/back\slash' "/$(printf 'tab\t')" '/=equals' '/-dash' '/日本-🦀-é'
RUN ln -s "$(printf '\377target')" "/$(printf 'link-\377')" && touch "/$(printf '%0100d' 1)" "/$(printf '%099d' 1)" "/$(printf '%0101d' 1)" "/$(printf '%0255d' 1)"
RUN d=$(printf 'd%0154d' 1) && mkdir /$d && touch /$d/$(printf '%0100d' 1) /$d/$(printf '%099d' 1)
RUN mkdir /order && cd /order && touch a a.b a-b a0 ab A && mkdir a.d a-d && touch a.d/x a-d/x && mkdir aa && touch aa/b aa.b 'aa b'
RUN rm "/$(printf 'not-\377\376-utf8')" /$(printf '%0255d' 1) && touch '/日本-🦀-é/' 2>/dev/null || rm '/日本-🦀-é'
