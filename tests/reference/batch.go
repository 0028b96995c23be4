package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
)

// batch answers jobs until stdin ends, one JSON object a line:
//
//	{"op":"ztoc","layer":"a.tar.gz","ztoc":"a.ztoc","span":65536}  →  {"digest":"sha256:…","size":34312}
//	{"op":"read","layer":"a.tar.gz","ztoc":"a.ztoc"}               →  {"files":[{"path_hex":"2f61","size":1,"sha256":"…"}]}
//	{"op":"decode","ztoc":"a.ztoc"}                                →  {}
//	{"op":"convert","layout":"image","all":true}                   →  {"digest":"sha256:…","size":802}
//	{"op":"gzip","in":"a.tar","out":"a.tar.gz","level":9}          →  {}
//
// Fields left out have the command line's defaults. A job that fails, or that makes the library panic, answers {"error":"…"};
// a fault in the library's C code ends the process.
func batch(in io.Reader, out *os.File) error {
	// Some of the library prints what it does; only answers may reach our stdout.
	os.Stdout = os.Stderr
	answers := json.NewEncoder(out)
	lines := bufio.NewScanner(in)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		j := newJob("")
		var a *answer
		err := json.Unmarshal(lines.Bytes(), &j)
		if err == nil {
			a, err = j.safely()
		}
		if err != nil {
			a = &answer{Error: err.Error()}
		}
		if err := answers.Encode(a); err != nil {
			return err
		}
	}
	return lines.Err()
}

func (j *job) safely() (a *answer, err error) {
	defer func() {
		if r := recover(); r != nil {
			a, err = nil, fmt.Errorf("panic: %v", r)
		}
	}()
	return j.do()
}

var artifacts string

// artifactsDir is where the library keeps its artifact database, which it opens once a process and never closes; main removes it.
func artifactsDir() (string, error) {
	var err error
	if artifacts == "" {
		artifacts, err = os.MkdirTemp("", "reference")
	}
	return artifacts, err
}
