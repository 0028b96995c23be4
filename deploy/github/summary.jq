# A table in Markdown of what `sociable inspect --json` says.

def size:
  if . < 1000 then "\(.) B"
  elif . < 1e6 then "\((. / 100 | round) / 10) kB"
  elif . < 1e9 then "\((. / 1e5 | round) / 10) MB"
  else "\((. / 1e7 | round) / 100) GB"
  end;

def code: "`\(.)`";

"### Image with its SOCI index",
"",
(.place | code),
"",
"| platform | | digest | size | zTOC | spans |",
"|---|---|---|--:|--:|--:|",
(.platforms[]
  | .platform as $platform
  | (.layers[] | "| \($platform) | layer | \(.digest[7:19] | code) | \(.size | size) | " +
      if .ztoc then "\(.ztoc.size | size) | \(.ztoc.spans.count) |" else "– | – |" end),
    (.soci_indexes[] | "| \($platform) | **SOCI index \(.version)** | \(.digest | code) | \(.size | size) | \(.ztoc_bytes | size) | |"),
    (select(.soci_indexes == []) | "| \($platform) | **no SOCI index** | | | | |")),
""
