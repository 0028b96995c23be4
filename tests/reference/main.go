// Command reference answers what the soci-snapshotter library (the version in go.mod) makes of a layer,
// so that tests and measurements can compare Sociable with the implementation that defines the format.
//
//	reference ztoc [-span BYTES] [-tool ID] [-tar] LAYER OUT
//	       build LAYER's zTOC (of an uncompressed layer with -tar) and print "digest size"
//	reference convert [-span BYTES] [-min BYTES] [-tool ID] [-all | -platform P,P…] [-xattr] [-prefetch PATH,PATH…] LAYOUT
//	       add the SOCI v2 index to an OCI layout directory in place and print the new image index's "digest size"
//	       (the work of "soci convert --standalone" without its copies)
//	reference read LAYER ZTOC
//	       read every file of LAYER through ZTOC the way the snapshotter does (span digests, tar headers and
//	       attributes verified) and print "sha256 size name" a file (name quoted)
//	reference decode ZTOC
//	       parse ZTOC and nothing more
//	reference gzip [-level N] IN OUT
//	       compress with Go's compress/gzip, which is what container tools write layers with
//	reference batch
//	       one JSON job a line on stdin, one JSON answer a line on stdout; see batch.go
package main

import (
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/awslabs/soci-snapshotter/cache"
	"github.com/awslabs/soci-snapshotter/fs/reader"
	spanmanager "github.com/awslabs/soci-snapshotter/fs/span-manager"
	"github.com/awslabs/soci-snapshotter/metadata"
	"github.com/awslabs/soci-snapshotter/soci"
	"github.com/awslabs/soci-snapshotter/soci/store"
	"github.com/awslabs/soci-snapshotter/ztoc"
	"github.com/awslabs/soci-snapshotter/ztoc/compression"
	"github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/containerd/v2/plugins/content/local"
	"github.com/containerd/platforms"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// job is one question; the command line and the batch mode both end up here.
type job struct {
	Op        string   `json:"op"`
	Layer     string   `json:"layer"`     // ztoc, read: the layer's file
	Ztoc      string   `json:"ztoc"`      // ztoc: where to write it; read, decode: the file to read
	Layout    string   `json:"layout"`    // convert
	In        string   `json:"in"`        // gzip
	Out       string   `json:"out"`       // gzip
	Level     int      `json:"level"`     // gzip
	Span      int64    `json:"span"`      // ztoc, convert
	Min       int64    `json:"min"`       // convert
	Tool      string   `json:"tool"`      // ztoc, convert
	Tar       bool     `json:"tar"`       // ztoc
	All       bool     `json:"all"`       // convert
	Platforms []string `json:"platforms"` // convert
	Xattr     bool     `json:"xattr"`     // convert: the optimisation of that name
	Prefetch  []string `json:"prefetch"`  // convert
}

// answer is what a job returns; Error alone when it failed.
type answer struct {
	Error  string `json:"error,omitempty"`
	Digest string `json:"digest,omitempty"`
	Size   int64  `json:"size,omitempty"`
	Files  []file `json:"files,omitempty"`
}

// file is one regular file as read through a zTOC. Hard links appear once, under whichever name came first.
type file struct {
	path    string
	PathHex string `json:"path_hex"` // names need not be UTF-8
	Size    int64  `json:"size"`
	Sha256  string `json:"sha256"`
}

func newJob(op string) job {
	return job{Op: op, Level: 6, Span: 1 << 22, Min: 10 << 20, Tool: "AWS SOCI CLI v0.2"}
}

func main() {
	err := run(os.Args[1:])
	if artifacts != "" {
		os.RemoveAll(artifacts)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) == 0 {
		return errors.New("usage: reference ztoc|convert|read|decode|gzip|batch ...")
	}
	j := newJob(args[0])
	flags := flag.NewFlagSet(args[0], flag.ExitOnError)
	flags.Int64Var(&j.Span, "span", j.Span, "span size in bytes")
	flags.Int64Var(&j.Min, "min", j.Min, "smallest layer to index, in bytes")
	flags.StringVar(&j.Tool, "tool", j.Tool, "build tool identifier")
	flags.BoolVar(&j.Tar, "tar", j.Tar, "LAYER is an uncompressed tar")
	flags.BoolVar(&j.All, "all", j.All, "convert every platform")
	flags.BoolVar(&j.Xattr, "xattr", j.Xattr, "mark layers that need no extended attributes")
	flags.IntVar(&j.Level, "level", j.Level, "gzip level")
	platformList := flags.String("platform", "", "platforms to convert, separated by commas")
	prefetchList := flags.String("prefetch", "", "files to prefetch, separated by commas")
	_ = flags.Parse(args[1:])
	j.Platforms, j.Prefetch = list(*platformList), list(*prefetchList)

	operands := map[string][]*string{
		"ztoc": {&j.Layer, &j.Ztoc}, "read": {&j.Layer, &j.Ztoc}, "decode": {&j.Ztoc},
		"convert": {&j.Layout}, "gzip": {&j.In, &j.Out}, "batch": {},
	}
	want, ok := operands[j.Op]
	if !ok {
		return fmt.Errorf("unknown command %q", j.Op)
	}
	if flags.NArg() != len(want) {
		return fmt.Errorf("%s: wrong number of arguments", j.Op)
	}
	for i, p := range want {
		*p = flags.Arg(i)
	}
	if j.Op == "batch" {
		return batch(os.Stdin, os.Stdout)
	}
	a, err := j.do()
	if err != nil {
		return err
	}
	if a.Digest != "" {
		fmt.Println(a.Digest, a.Size)
	}
	for _, f := range a.Files {
		fmt.Printf("%s %d %q\n", f.Sha256, f.Size, f.path)
	}
	return nil
}

func list(s string) []string {
	if s == "" {
		return nil
	}
	return strings.Split(s, ",")
}

func (j *job) do() (*answer, error) {
	switch j.Op {
	case "ztoc":
		return j.build()
	case "convert":
		return j.convert()
	case "read":
		return j.read()
	case "decode":
		_, err := decode(j.Ztoc)
		return &answer{}, err
	case "gzip":
		return &answer{}, j.gzip()
	}
	return nil, fmt.Errorf("unknown op %q", j.Op)
}

func (j *job) build() (*answer, error) {
	algorithm := compression.Gzip
	if j.Tar {
		algorithm = compression.Uncompressed
	}
	z, err := ztoc.NewBuilder(j.Tool).BuildZtoc(j.Layer, j.Span, ztoc.WithCompression(algorithm))
	if err != nil {
		return nil, err
	}
	r, desc, err := ztoc.Marshal(z)
	if err != nil {
		return nil, err
	}
	f, err := os.Create(j.Ztoc)
	if err != nil {
		return nil, err
	}
	if _, err := io.Copy(f, r); err != nil {
		f.Close()
		return nil, err
	}
	return &answer{Digest: desc.Digest.String(), Size: desc.Size}, f.Close()
}

func (j *job) convert() (*answer, error) {
	ctx := context.Background()
	raw, err := os.ReadFile(filepath.Join(j.Layout, "index.json"))
	if err != nil {
		return nil, err
	}
	var top ocispec.Index
	if err := json.Unmarshal(raw, &top); err != nil {
		return nil, err
	}
	if len(top.Manifests) != 1 {
		return nil, fmt.Errorf("index.json lists %d manifests, want one", len(top.Manifests))
	}
	content, err := local.NewStore(j.Layout)
	if err != nil {
		return nil, err
	}
	blobs, err := store.NewSociStore(j.Layout)
	if err != nil {
		return nil, err
	}
	dir, err := artifactsDir()
	if err != nil {
		return nil, err
	}
	db, err := soci.NewDB(soci.ArtifactsDbPath(dir))
	if err != nil {
		return nil, err
	}
	options := []soci.BuilderOption{soci.WithArtifactsDb(db), soci.WithSpanSize(j.Span), soci.WithMinLayerSize(j.Min),
		soci.WithBuildToolIdentifier(j.Tool), soci.WithPrefetchPaths(j.Prefetch)}
	if j.Xattr {
		options = append(options, soci.WithOptimizations([]soci.Optimization{soci.XAttrOptimization}))
	}
	builder, err := soci.NewIndexBuilder(content, blobs, options...)
	if err != nil {
		return nil, err
	}
	img := images.Image{Name: j.Layout, Target: top.Manifests[0]}
	opts := []soci.ConvertOption{soci.ConvertWithNoGarbageCollectionLabels()}
	var ps []ocispec.Platform
	if j.All {
		if ps, err = images.Platforms(ctx, content, img.Target); err != nil {
			return nil, err
		}
	}
	for _, name := range j.Platforms {
		p, err := platforms.Parse(name)
		if err != nil {
			return nil, err
		}
		ps = append(ps, p)
	}
	desc, err := builder.Convert(ctx, img, append(opts, soci.ConvertWithPlatforms(ps...))...)
	if err != nil {
		return nil, err
	}
	top.Manifests = []ocispec.Descriptor{*desc}
	if raw, err = json.Marshal(top); err != nil {
		return nil, err
	}
	return &answer{Digest: desc.Digest.String(), Size: desc.Size},
		os.WriteFile(filepath.Join(j.Layout, "index.json"), raw, 0o644)
}

func (j *job) gzip() error {
	in, err := os.Open(j.In)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.Create(j.Out)
	if err != nil {
		return err
	}
	defer out.Close()
	w, err := gzip.NewWriterLevel(out, j.Level)
	if err != nil {
		return err
	}
	if _, err := io.Copy(w, in); err != nil {
		return err
	}
	if err := w.Close(); err != nil {
		return err
	}
	return out.Close()
}

func decode(name string) (*ztoc.Ztoc, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return ztoc.Unmarshal(f)
}

func (j *job) read() (*answer, error) {
	z, err := decode(j.Ztoc)
	if err != nil {
		return nil, err
	}
	lf, err := os.Open(j.Layer)
	if err != nil {
		return nil, err
	}
	defer lf.Close()
	st, err := lf.Stat()
	if err != nil {
		return nil, err
	}
	sr := io.NewSectionReader(lf, 0, st.Size())
	name := digest.FromString(j.Layer)
	spans, err := spanmanager.New(z, sr, cache.NewMemoryCache(), 0, name)
	if err != nil {
		return nil, err
	}
	defer spans.Close()
	meta, err := metadata.NewTempDbStore(sr, z.TOC)
	if err != nil {
		return nil, err
	}
	defer meta.Close()
	files, err := reader.NewReader(meta, name, spans, false)
	if err != nil {
		return nil, err
	}
	defer files.Close()
	w := walker{meta: meta, files: files, seen: map[uint32]bool{meta.RootID(): true}}
	err = w.walk(meta.RootID(), "/")
	return &answer{Files: w.found}, err
}

type walker struct {
	meta  metadata.Reader
	files reader.Reader
	seen  map[uint32]bool
	found []file
}

func (w *walker) walk(dir uint32, at string) error {
	type child struct {
		name string
		id   uint32
		mode os.FileMode
	}
	var children []child
	err := w.meta.ForeachChild(dir, func(name string, id uint32, mode os.FileMode) bool {
		children = append(children, child{name, id, mode})
		return true
	})
	if err != nil {
		return err
	}
	for _, c := range children {
		p := path.Join(at, c.name)
		if w.seen[c.id] { // a hard link, or the entry "./", which is the root again
			continue
		}
		w.seen[c.id] = true
		switch {
		case c.mode.IsDir():
			err = w.walk(c.id, p)
		case c.mode.IsRegular():
			err = w.readFile(c.id, p)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (w *walker) readFile(id uint32, p string) error {
	attr, err := w.meta.GetAttr(id)
	if err != nil {
		return err
	}
	h := sha256.New()
	if attr.Size != 0 { // an empty file has no span to read
		f, err := w.files.OpenFile(id)
		if err != nil {
			return fmt.Errorf("%s: %w", p, err)
		}
		n, err := io.Copy(h, io.NewSectionReader(f, 0, attr.Size))
		if err != nil {
			return fmt.Errorf("%s: %w", p, err)
		}
		if n != attr.Size {
			return fmt.Errorf("%s: %d bytes, want %d", p, n, attr.Size)
		}
	}
	w.found = append(w.found, file{p, fmt.Sprintf("%x", p), attr.Size, fmt.Sprintf("%x", h.Sum(nil))})
	return nil
}
