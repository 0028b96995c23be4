// What files are, by their names.

// Deflate gains next to nothing on these.
const compressed = new Set(
  (
    "7z aac apk avif br bz2 cab crate deb docx ear egg epub flac gif gz heic jar jpeg jpg jxl lz4 lzma m4a mkv mov mp3 mp4 nupkg odt " +
    "ogg opus png pptx rar rpm snap squashfs tbz tgz txz war webm webp whl woff woff2 xlsx xpi xz zip zst"
  ).split(" "),
);

// It gains most on these, and a start that reads them waits for the network, not for inflate.
const text = new Set(
  (
    "adoc c cc cfg cmake conf cpp cs css csv cxx dart el ex exs go gradle h hpp htm html ini java js json jsonl jsx kt less lock log lua " +
    "m4 map md mjs php pl plist pm po pot properties proto py pyi r rb rs rst sass scala scss sh sql svg swift tcl tex toml ts tsv " +
    "tsx txt vim vue wit xhtml xml xsd xsl yaml yml"
  ).split(" "),
);

const textNames = new Set("AUTHORS CHANGELOG CHANGES COPYING COPYRIGHT LICENSE METADATA NEWS NOTICE README RECORD".split(" "));

/** The extension of a path's last part, in lower case; empty if it has none. */
export function extension(path) {
  const name = path.slice(path.lastIndexOf("/") + 1);
  const dot = name.lastIndexOf(".");
  return dot > 0 ? name.slice(dot + 1).toLowerCase() : "";
}

/** What a file is: "compressed", "text" or undefined. */
export function type(path) {
  const name = path.slice(path.lastIndexOf("/") + 1);
  const of = extension(path);
  if (compressed.has(of)) return "compressed";
  if (text.has(of) || textNames.has(name)) return "text";
  return undefined;
}
